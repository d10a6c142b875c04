"""Adapting and distilling: what a run takes from a trained one, what it says otherwise, and that it trains."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.checkpoint.equality import equal
from tests.ranks import run_ranks
from tests.roles.short_runs import metrics, saved, train, words
from tests.runs.test_offline import listing
from tsal_dist import adapt, distill
from tsal_dist.config import load_config
from tsal_dist.config.load import to_override
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.inference.trained import NothingSaved, load_trained
from tsal_dist.insight.report import build_report
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.run import load_run, open_run
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.start import chosen_config
from tsal_dist.train import build_parser


@pytest.fixture(scope="module")
def alone(faces, tmp_path_factory):
    """A detector that has seen labels only."""
    return train(faces, tmp_path_factory.mktemp("alone") / "run", "method.name=supervised")


@pytest.fixture(scope="module")
def large(faces, tmp_path_factory):
    """A detector of another kind."""
    words = ("method.name=supervised", "model.detector=lite0", "model.weights=random", "train.steps=2")
    return train(faces, tmp_path_factory.mktemp("large") / "run", *words)


def adapted(*argv):
    return adapt.adapted(adapt.build_parser().parse_intermixed_args([str(word) for word in argv]))


def distilled(*argv):
    return distill.distilled(distill.build_parser().parse_intermixed_args([str(word) for word in argv]))


def adapt_rank(rank, world, argv):
    """One process, as torchrun would start it."""
    return int(adapt.main(argv))


def distill_rank(rank, world, argv):
    return int(distill.main(argv))


@pytest.mark.parametrize(
    "folder", ["😀", "del\x7f", 'a "quoted" one', "back\\slash", "two\nlines"], ids=ascii
)
def test_a_run_is_followed_whatever_its_folder_is_called(faces, tmp_path, folder):
    run = tmp_path / folder / "my run"
    open_run(load_config([], [*words(faces, "none"), to_override("run.dir", str(run))]), "new")

    def chosen(*argv):
        return chosen_config(build_parser().parse_intermixed_args(argv))

    assert chosen("--from", str(run), "run.dir=x").runtime.fork == str(run)
    assert chosen("--resume", str(run)).run.dir == str(run)
    assert chosen("--replay-plan", str(run), "run.dir=x").runtime.replay == str(run)
    assert chosen("--offline", str(run), "method.name=tsal").runtime.offline == (str(run),)
    config = adapted(run, "--footage", faces.train)
    assert (config.runtime.fork, config.run.dir) == (str(run), f"{run}-adapted")
    assert distilled(run).method.settings["teacher"] == str(run)


def test_a_run_that_a_crew_has_written_down_is_followed(faces, tmp_path):
    run, crew = tmp_path / "run", ("runtime.topology=detached", "runtime.role=teacher", "runtime.crew=night")
    open_run(load_config([], [*words(faces, run), *crew]), "new")
    again = chosen_config(build_parser().parse_intermixed_args(["--replay-plan", str(run)]))
    configs = again, distilled(run), adapted(run, "--footage", faces.train)
    assert [(config.runtime.role, config.runtime.crew) for config in configs] == [("", "")] * 3


@pytest.mark.ranks
def test_adapting_changes_the_footage_and_keeps_the_labels(faces, alone):
    config, trained = adapted(alone, "--footage", faces.held_out, "--validation", "v"), load_run(alone).config
    assert config.data.unlabelled == (faces.held_out,)
    assert config.data.labelled == (faces.train, faces.held_out), "what has labels there is learnt too"
    assert config.data.validation == ("v",)
    assert config.method.name == adapt.METHOD, "labels alone know no other footage"
    assert (config.runtime.fork, config.runtime.fork_step) == (str(alone), "best")
    assert config.train.burn_in_steps == 0, "its teacher has learnt already"
    assert config.train.loss.headroom, "it is known what there is to learn"
    assert config.run.dir == f"{alone}-adapted"
    assert config.model == trained.model
    assert config.train.optim == trained.train.optim


@pytest.mark.ranks
def test_what_the_user_says_wins(faces, alone, tmp_path, capsys):
    config = adapted(
        alone, "--footage", faces.train, f"run.dir={tmp_path}", "method.name=companions", "train.steps=3"
    )
    assert (config.run.dir, config.method.name, config.train.steps) == (str(tmp_path), "companions", 3)
    assert not config.train.loss.headroom, (
        "RUN's own held-out frames do not say what there is to learn elsewhere"
    )
    config = distilled(alone, "--detector", "lite0", "--footage", "other", "train.burn_in_steps=2")
    assert (config.model.detector, config.train.burn_in_steps) == ("lite0", 2)
    assert config.data.unlabelled == ("other",)
    assert distilled(alone).data.unlabelled == (faces.train,), "RUN's own"
    assert capsys.readouterr().err == ""
    distilled(alone, "model.crop_px=64")
    told = f"warning: model.crop_px is 64, and {alone} learnt at {config.model.crop_px}"
    assert told in capsys.readouterr().err


@pytest.mark.ranks
def test_a_flag_takes_several_folders_and_no_settings(faces, alone, tmp_path, monkeypatch):
    both, behind = ["--footage", faces.train, faces.held_out], [f"run.dir={tmp_path}", "train.steps=3"]
    config = adapted(alone, *both, *behind, "--validation", "v", "w=1", "train.optim.lr=0.5")
    assert config.data.unlabelled == (faces.train, faces.held_out)
    assert config.data.validation == ("v", "w=1"), "a setting has a section"
    assert (config.run.dir, config.train.steps, config.train.optim.lr) == (str(tmp_path), 3, 0.5)
    config = distilled(alone, "--footage", "a", "b", *behind, "--footage", "c")
    assert config.data.unlabelled == ("a", "b", "c")
    assert (config.run.dir, config.train.steps) == (str(tmp_path), 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.v2=dark").mkdir()
    assert distilled(alone, "--footage", "night.v2=dark").data.unlabelled == ("night.v2=dark",), "it is there"
    with pytest.raises(ConfigError, match=r"--footage names no folder, but the setting 'train\.steps=3'"):
        adapted(alone, "--footage", "train.steps=3")


def test_a_folder_without_shards_is_told_from_one_that_holds_some(faces, tmp_path):
    run = open_run(load_config([], words(faces, tmp_path / "run")), "new").dir.root
    with pytest.raises(ConfigError, match=rf"^--footage names '.*', which holds no shards.*{faces.train}"):
        adapted(run, "--footage", Path(faces.train).parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty', which holds no shards\. Pack shards there"):
        adapted(run, "--footage", tmp_path / "empty")


def test_only_held_out_frames_of_the_new_footage_judge_the_teacher(faces, tmp_path):
    for name, validation in (("without", ("data.validation=",)), ("with", ())):
        argv = words(faces, tmp_path / name, "method.name=supervised", *validation)
        run = open_run(load_config([], argv), "new").dir.root
        once = adapted(run, "--footage", faces.train)
        assert not once.train.gate.enabled
        assert adapted(run, "--footage", faces.train, "--validation", "v").train.gate.enabled
        again = open_run(once, "new").dir.root
        assert adapted(again, "--footage", faces.train, "--validation", "v").train.gate.enabled


@pytest.mark.ranks
@pytest.mark.parametrize("method", ["feature_distillation", "quantized_distillation"])
def test_a_teacher_of_other_landmarks_is_refused_before_there_is_a_run(large, tmp_path, monkeypatch, method):
    other = tmp_path / "other"
    shutil.copytree(large, other)
    written = json.loads((other / "run.json").read_text())
    written["config"]["model"]["num_points"] = 4
    (other / "run.json").write_text(json.dumps(written))
    shutil.rmtree(other / "checkpoints" / "student")
    out = tmp_path / "out"
    again = [str(other), f"method.name={method}", "model.num_points=68", f"run.dir={out}"]
    with pytest.raises(NothingSaved, match="no finished checkpoint"):
        distill.main(again)
    narrow = replace(load_trained(large, "student"), config=load_run(other).config)
    monkeypatch.setattr("tsal_dist.runs.build.load_trained", lambda *_: narrow)
    with pytest.raises(
        ConfigError, match="sees 4 landmarks and model.num_points is 68: it cannot teach these"
    ):
        distill.main(again)
    assert not out.exists()


@pytest.mark.ranks
@pytest.mark.parametrize("world", [1, 2])
def test_an_adapted_detector_begins_where_the_trained_one_stood(faces, alone, tmp_path, world):
    before, out = listing(alone), tmp_path / "out"
    argv = [str(alone), "--footage", faces.held_out, "--validation", faces.held_out, f"run.dir={out}"]
    with pytest.raises(ConfigError, match="its scores would mean nothing"):
        adapt.main(argv)  # what is held out may not be watched
    argv = [
        str(alone),
        "--footage",
        faces.train,
        "method.score_warmup=1",
        "runtime.checkpoint.keep=3",
        f"run.dir={out}",
    ]
    assert run_ranks(adapt_rank, world, argv, group=False) == [0] * world
    assert equal(
        saved(out, "student", 0)["engine"]["weights"], saved(alone, "student", 8)["engine"]["weights"]
    )
    lines = metrics(out, "student")
    assert lines[-1]["step"] == 8
    assert lines[0]["step"] == 0
    assert lines[0]["validation/nme"] > 0, "what it was worth before"
    if world == 1:  # two processes do not wait for each other: eight steps may end before a label is there
        plans = load_plans(out / "metrics" / "plan.jsonl")
        assert sum(plan.fresh_rows for plan in plans), "it is taught by labels of the footage"
    assert load_run(out).config.runtime.topology == ("inline" if world == 1 else "split")
    assert listing(alone) == before, "RUN is only read"


@pytest.mark.ranks
def test_where_the_old_labels_are_gone_some_of_the_new_footage_do(faces, alone, tmp_path):
    run = shutil.copytree(alone, tmp_path / "came_alone")
    (run / "run.json").write_text((run / "run.json").read_text().replace(faces.train, "/nowhere"))
    argv = [str(run), "--footage", faces.held_out, "data.validation=", "train.steps=2"]
    with pytest.raises(ConfigError, match="^data.labelled names '/nowhere', which is no folder"):
        adapt.main(argv)
    argv.append(f"data.labelled={faces.held_out}")
    assert run_ranks(adapt_rank, 1, argv, group=False) == [0]
    assert metrics(tmp_path / "came_alone-adapted", "student")[-1]["step"] == 2


def test_a_run_that_goes_on_for_longer_says_so(faces, tmp_path, monkeypatch, capsys):
    """Who takes up a short one and leaves `train.steps` away gets as many as RUN had."""
    run = open_run(load_config([], words(faces, tmp_path / "run")), "new").dir.root
    argv = [str(run), "--footage", faces.train]
    open_run(adapted(*argv, "train.steps=2"), "new")
    monkeypatch.setattr("tsal_dist.runs.process.train", lambda *_: ExitCode.DONE)
    assert adapt.main([*argv, "--resume-or-start"]) == ExitCode.DONE
    assert "train.steps was 2 and is 8 now" in capsys.readouterr().err


@pytest.mark.ranks
@pytest.mark.parametrize("world", [1, 2])
def test_a_distilled_detector_is_another_net_that_the_trained_one_teaches(large, tmp_path, world):
    before, out = listing(large), tmp_path / "out"
    argv = [str(large), "--detector", "lite", f"run.dir={out}", "train.steps=8", "train.gate.enabled=true"]
    assert run_ranks(distill_rank, world, argv, group=False) == [0] * world
    config = load_run(out).config
    assert (config.method.name, config.method.settings["teacher"]) == ("feature_distillation", str(large))
    assert config.runtime.fork == "", "other nets share no weights"
    lines = metrics(out, "student")
    assert lines[-1]["step"] == 8
    if world == 1:
        assert any(line.get("loss/embedding", 0) > 0 for line in lines), "it learns how the other one sees"
        taught = read_metrics(RunDir(out).metrics("teacher"))
        assert any("gate/teacher_nme" in line for line in taught), "the gate judges the other one's net"
        assert f"8 steps. Taught by {large}." in build_report([out])
    assert listing(large) == before, "RUN is only read"
