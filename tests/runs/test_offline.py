"""A student that learns from label logs alone: no teacher, no bounds on age, the other runs untouched."""

import json
import time

import pytest

from tests.checkpoint.equality import equal
from tests.roles.short_runs import metrics, plans, student_of, train, words
from tests.runs.jobs import log_text
from tests.runs.other_runs import copy_run, rerun
from tsal_dist.errors import ConfigError
from tsal_dist.run_dir import RunDir

pytestmark = pytest.mark.ranks


@pytest.fixture(scope="module")
def original(faces, tmp_path_factory):
    """Six steps' labels of eight rows."""
    return train(faces, tmp_path_factory.mktemp("original") / "run")


def listing(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "logs" not in path.parts
    }


def offline(faces, folder, *sources, overrides=(), world=1):
    flags = [word for source in sources for word in ("--offline", str(source))]
    return rerun(folder, *flags, *words(faces, folder, *overrides), world=world)


def uses(folder):
    """Per step, how often its rows have been trained on by then."""
    return [{use for *_, use, _ in rank} for (rank,) in plans(folder)]


def test_a_student_learns_from_the_log_alone(faces, original, tmp_path):
    before = listing(original)
    folder = offline(faces, tmp_path / "alone", original)
    assert listing(original) == before, "it is only read"
    assert not (folder / "weights").exists()
    assert not (folder / "checkpoints" / "teacher").exists()
    assert plans(folder) == plans(original), (
        "without bounds, a log that was trained on in order is trained on in order"
    )
    last = metrics(folder)[-2]
    assert last["staleness/rho"] == 0, "no teacher moves on, so no label ages"
    assert last["weight/point"] > 0


def test_labels_of_any_age_are_taken(faces, original, tmp_path):
    """The other run's teacher knew steps 2 to 6; here they are trained on from step 40 on, far past the bound."""
    late = (
        "train.steps=44",
        "train.burn_in_steps=40",
        "runtime.queue.max_lag_steps=3",
        "runtime.log.evaluate_every=44",
    )
    folder = offline(faces, tmp_path / "late", original, overrides=late)
    assert uses(folder) == [{1}] * 4
    assert metrics(folder)[-2]["staleness/steps"] > 30


@pytest.mark.parametrize(
    ("policy", "after"), [("reuse", [{2}] * 4), ("supervised", [set()] * 4)], ids=["reuse", "supervised"]
)
def test_at_the_end_of_the_log_the_usual_policy_holds(faces, original, tmp_path, policy, after):
    longer = ("train.steps=12", "runtime.log.evaluate_every=12", f"runtime.queue.on_starvation={policy}")
    folder = offline(faces, tmp_path / policy, original, overrides=longer)
    assert uses(folder) == [{1}] * 6 + after


def test_at_the_end_of_the_log_it_waits_for_more_once(faces, original, tmp_path):
    """Another deadline at every step would never end."""
    longer = (
        "train.steps=40",
        "runtime.log.evaluate_every=40",
        "runtime.queue.on_starvation=wait",
        "runtime.deadlines.poll_s=0.1",
        "runtime.deadlines.silent_s=1",
    )
    started = time.monotonic()
    folder = offline(faces, tmp_path / "wait", original, overrides=longer)
    assert uses(folder) == [{1}] * 6 + [set()] * 32
    assert time.monotonic() - started < 25
    assert log_text(folder, "student").count("the logs that it learns from have no more") == 1


def test_several_logs_are_one(faces, original, tmp_path):
    second = train(faces, tmp_path / "second", "train.seed=5")
    longer = ("train.steps=14", "runtime.log.evaluate_every=14", "runtime.queue.on_starvation=supervised")
    folder = offline(faces, tmp_path / "both", original, second, overrides=longer)
    assert uses(folder) == [{1}] * 12
    rows = {rank[0][0] for (rank,) in plans(folder)}
    assert rows == {"teacher-r0000-000001", "teacher-r10000-000001"}
    again = rerun(tmp_path / "again", "--replay-plan", str(folder))
    assert equal(student_of(folder), student_of(again)), "what was learnt offline can be replayed"


def test_two_students_share_a_log(faces, original, tmp_path):
    halves = ("train.labelled_batch=2", "train.unlabelled_batch=4")
    folder = offline(faces, tmp_path / "two", original, overrides=halves, world=2)
    assert [[sum(part[3] - part[2] for part in rank) for rank in ranks] for ranks in plans(folder)] == [
        [4, 4]
    ] * 6


def test_a_damaged_segment_is_skipped_and_left_where_it_is(faces, original, tmp_path):
    other = copy_run(original, tmp_path / "other")
    struck = sorted(other.glob("queue/labels/p/*/d/*/*.parquet"))[1]
    struck.write_bytes(b"PAR1" + bytes(struck.stat().st_size - 4))
    folder = offline(faces, tmp_path / "alone", other)
    assert struck.exists()
    assert [part[1] for (rank,) in plans(folder)[:5] for part in rank] == [0, 2, 3, 4, 5]
    (note,) = RunDir(folder).queue("labels").glob("quarantine/*.json")
    assert json.loads(note.read_text())["seq"] == 1


def refusal(faces, folder, source, *overrides):
    from tsal_dist.train import main

    with pytest.raises(ConfigError) as caught:
        main(["--offline", str(source), *words(faces, folder, *overrides)])
    return str(caught.value)


def test_what_does_not_fit_is_refused(faces, original, tmp_path):
    assert "cannot be trained over" in refusal(faces, original, original)
    assert "holds no run.json" in refusal(faces, tmp_path / "a", tmp_path / "nowhere")
    assert "nothing would be learnt from the other run's labels" in refusal(
        faces, tmp_path / "a", original, "method.name=supervised"
    )
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.unlabelled={held_out}", "not those of data.unlabelled"),
        ("data.clip_frames=2", "has unit 4, this process expects 2"),
    ],
)
def test_labels_of_something_else_are_refused(faces, original, tmp_path, setting, message):
    settings = [setting.format(held_out=faces.held_out), "data.validation=[]"]
    with pytest.raises(AssertionError, match=message):
        offline(faces, tmp_path / "a", original, overrides=settings)
