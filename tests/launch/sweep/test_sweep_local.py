"""Sweeps on a cluster of their own, with real torchruns below: schedules, failures, interruptions, nothing left."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.launch.sweep.sweeping import assert_nothing_left
from tests.marks import against_the_clock
from tsal_dist.config import load_config

pytestmark = [against_the_clock, pytest.mark.slow, pytest.mark.timeout(300)]

PLACE = "[place]\ncpus_per_proc = 0.5\n"
GRID = '[search]\nmethod = "grid"\n'
THREE = "train.optim.lr = { grid = [2e-3, 2e-2, 2e-1] }"


def test_a_grid_runs_to_its_end_and_the_bad_value_comes_last(sweep):
    job = sweep(GRID + PLACE, "train.optim.lr = { grid = [2e-1, 2e-3] }")
    assert job.finish() == 0, job.output
    assert [trial["values"]["train.optim.lr"] for trial in job.trials()] == [2e-3, 2e-1]
    assert {trial["status"] for trial in job.trials()} == {"done"}
    assert {trial["step"] for trial in job.trials()} == {40}
    # Both had their own run, in which both roles trained once.
    assert len(job.runs()) == 2
    assert len(job.starts("student")) == len(job.starts("teacher")) == 2
    best = load_config([job.folder / "report" / "best.toml"])
    assert best.train.optim.lr == 2e-3
    assert best.run.name == "tiny-best"
    assert best.run.dir == ""
    for name in ("learning_curves.png", "parallel_coordinates.png"):
        assert (job.folder / "report" / name).stat().st_size > 5000
    assert "best config:" in job.output
    assert "Traceback" not in job.output
    assert_nothing_left(job.folder)


def test_asha_stops_what_is_behind(sweep):
    text = "trials = 3\nconcurrent = 1\n" + PLACE + '[search]\nmethod = "grid"\n'
    text += '[schedule]\nkind = "asha"\nreduction = 3\n'
    job = sweep(text, THREE)
    assert job.finish() == 0, job.output
    first, *others = job.trials()
    assert (first["status"], first["step"]) == ("done", 40)
    assert [trial["status"] for trial in others] == ["stopped"] * 2
    assert all(trial["step"] < 40 for trial in others)
    assert_nothing_left(job.folder)


def test_a_process_that_is_killed_is_made_good_from_the_checkpoint(sweep):
    fault = {"student": {"at": 25, "how": "crash", "times": 1}}
    job = sweep("trials = 1\n" + PLACE, "train.optim.lr = { uniform = [1e-3, 1e-2] }", faults=fault)
    assert job.finish() == 0, job.output
    (trial,) = job.trials()
    assert (trial["status"], trial["failures"], trial["step"]) == ("done", 1, 40)
    assert [start["start"] for start in job.starts("student")] == [0, 20]
    assert "going on from its last checkpoint" in job.output
    assert_nothing_left(job.folder)


def test_a_trial_that_keeps_failing_is_given_up_and_the_others_are_not(sweep):
    fault = {"student": {"at": 5, "how": "config", "times": 99}}
    job = sweep(
        "trials = 1\nretries = 2\n" + PLACE, "train.optim.lr = { uniform = [1e-3, 1e-2] }", faults=fault
    )
    assert job.finish() == 1, job.output
    (trial,) = job.trials()
    assert trial["status"] == "failed"
    assert "the config is wrong" in trial["error"]
    # What a person has to change is not tried again.
    assert len(job.starts("student")) == 1
    assert_nothing_left(job.folder)


def test_an_interrupted_sweep_saves_and_goes_on(sweep):
    text, space = GRID + PLACE + "[stop]\n", "train.optim.lr = { grid = [2e-3, 4e-3, 8e-3] }"
    job = sweep("concurrent = 1\n" + text, space, "train.steps=60")
    job.wait_for(lambda: job.last_step() >= 20)
    job.process.send_signal(signal.SIGTERM)
    assert job.finish() == 75, job.output
    assert "saved" in {trial["status"] for trial in job.trials()}
    assert_nothing_left(job.folder, within_s=5)

    refused = sweep("concurrent = 1\n" + text, space, "train.steps=60")
    assert refused.finish() == 2
    assert "already holds a sweep" in refused.output
    other = sweep(
        "concurrent = 1\n" + text,
        "train.optim.lr = { grid = [1e-3, 4e-3, 8e-3] }",
        "--resume",
        "train.steps=60",
    )
    assert other.finish() == 2
    assert "another space" in other.output

    again = sweep("concurrent = 1\n" + text, space, "--resume", "train.steps=60")
    assert again.finish() == 0, again.output
    assert [trial["status"] for trial in again.trials()] == ["done"] * 3
    assert [trial["values"]["train.optim.lr"] for trial in again.trials()] == [2e-3, 4e-3, 8e-3]
    resumed = [start for start in again.starts("student") if start["start"] >= 20]
    assert len(resumed) == 1
    assert len(again.starts("student")) == 4
    assert_nothing_left(job.folder)


def test_nothing_survives_a_sweep_that_is_killed(sweep):
    job = sweep("trials = 1\n" + PLACE, "train.optim.lr = { uniform = [1e-3, 1e-2] }", "train.steps=4000")
    job.wait_for(lambda: job.last_step() >= 10)
    os.kill(job.process.pid, signal.SIGKILL)
    job.process.communicate(timeout=60)
    assert_nothing_left(job.folder, within_s=60)


def test_optuna_chooses_from_every_kind_of_range(sweep):
    text = "trials = 3\n" + PLACE + '[search]\nmethod = "optuna"\nstartup_trials = 2\n'
    space = (
        'method.use = { choice = [["heatmap"], ["heatmap", "track"]] }\nmethod.queue = { randint = [2, 3] }'
    )
    job = sweep(text, "train.optim.lr = { loguniform = [1e-3, 1e-2] }\n" + space)
    assert job.finish() == 0, job.output
    assert [trial["status"] for trial in job.trials()] == ["done"] * 3
    for trial in job.trials():
        config = json.loads((Path(trial["run"]) / "run.json").read_text())["config"]
        values = trial["values"]
        assert 1e-3 <= config["train"]["optim"]["lr"] == values["train.optim.lr"] <= 1e-2
        assert config["method"]["use"] == values["method.use"]
        assert config["method"]["queue"] == values["method.queue"] in (2, 3)
    assert len({trial["values"]["train.optim.lr"] for trial in job.trials()}) == 3


def read_id(run):
    return json.loads((run / "run.json").read_text())["id"]


def test_a_population_goes_on_from_its_best(sweep):
    text = "trials = 2\nseed = 3\n" + PLACE + '[schedule]\nkind = "pbt"\nevery_steps = 50\nquantile = 0.5\n'
    job = sweep(text, "train.optim.lr = { loguniform = [1e-3, 1e-1] }", "train.steps=400")
    assert job.finish() == 0, job.output
    clones = [run for run in job.runs() if run.name != "run_0"]
    assert clones, job.output
    # A clone has the identity of the run it goes on from, and begins at one of its checkpoints.
    first_ids = {read_id(run) for run in job.runs() if run.name == "run_0"}
    assert {read_id(run) for run in clones} <= first_ids
    for start in job.starts("student"):
        assert (start["start"] > 0) == (start["run"] in clones)
    # What a trial ends with is what its table says.
    for trial in job.trials():
        run = json.loads(((job.folder / trial["run"]) / "run.json").read_text())
        assert run["config"]["train"]["optim"]["lr"] == trial["values"]["train.optim.lr"]
    assert_nothing_left(job.folder)
