"""The oracle: inline runs depend on their config alone, on any number of processes, through any kill."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.checkpoint.equality import equal
from tests.loops.short_runs import metrics, plans, saved, student_of, train, words

pytestmark = pytest.mark.ranks
RECIPES = ("supervised", "mean_teacher", "tsal")


def in_order(state):
    """Snapshots come from files whose tensors have no order; places in a queue name this queue's files."""
    if not isinstance(state, dict):
        return state
    return {name: in_order(state[name]) for name in sorted(state) if name not in ("planner", "reader")}


def assert_same_end(first, second):
    """Weights, optimisers, averages, gates, stream positions of both roles, and what was written down."""
    for role in ("student", "teacher"):
        one, other = in_order(saved(first, role)), in_order(saved(second, role))
        assert one.keys() == other.keys()
        for part in one:
            assert equal(one[part], other[part]), f"{role}: {part}"
        for one, other in zip(metrics(first, role), metrics(second, role), strict=True):
            differing = {name: (one.get(name), other.get(name)) for name in {*one, *other}}
            differing = {name: pair for name, pair in differing.items() if pair[0] != pair[1]}
            assert not differing, f"{role}, step {one['step']}"


def test_the_same_config_gives_the_same_run(faces, run_of, tmp_path):
    again = train(faces, tmp_path / "again", "train.recipe=tsal")
    assert_same_end(run_of("tsal"), again)
    assert plans(run_of("tsal")) == plans(again)
    assert [sum(stop - start for _, _, start, stop, *_ in rank) for (rank,) in plans(again)] == [8] * 6
    assert all(use == 1 for (rank,) in plans(again) for *_, use, _ in rank), (
        "labels of its own for every step"
    )


def test_another_seed_gives_another_run(faces, run_of, tmp_path):
    other = train(faces, tmp_path / "other", "train.recipe=supervised", "train.seed=1")
    assert not equal(student_of(run_of("supervised")), student_of(other))


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_take_the_same_steps_as_one(faces, run_of, tmp_path, recipe):
    halves = ("train.labelled_batch=2", "train.unlabelled_batch=4", f"train.recipe={recipe}")
    two = train(faces, tmp_path / "two", *halves, world=2)
    one = run_of(recipe)
    for step in (4, 8):
        for name, value in student_of(one, step).items():
            torch.testing.assert_close(student_of(two, step)[name], value, rtol=2e-3, atol=2e-4, msg=name)
    for alone, shared in zip(metrics(one), metrics(two), strict=True):
        assert alone["step"] == shared["step"]
        if "train/grad_norm" in alone:
            assert shared["train/grad_norm"] == pytest.approx(alone["train/grad_norm"], rel=1e-3)


def start(argv):
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [sys.executable, "-m", "tsal_dist.train", *argv], env=environment, stderr=subprocess.PIPE, text=True
    )


def kill_when(process, ready, limit_s=120.0):
    """SIGKILL as soon as `ready` says so."""
    deadline = time.monotonic() + limit_s
    while not ready():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("train.recipe=tsal",),
        ("train.recipe=mean_teacher",),
        ("train.recipe=tsal", "train.teacher.priority=0.5"),
    ],
    ids=["tsal", "mean_teacher", "with feedback"],
)
def test_a_killed_run_goes_on_to_the_bit(faces, tmp_path, settings):
    straight = train(faces, tmp_path / "straight", *settings, "train.steps=12")
    folder = tmp_path / "killed"
    committed = folder / "checkpoints" / "student" / "step_4" / "COMMIT"
    plan_log = folder / "metrics" / "plan.jsonl"

    def is_past_the_checkpoint():
        # Steps 2 and 3 came before the checkpoint; two more plans are of steps that it does not know.
        return committed.exists() and plan_log.read_text().count("\n") >= 4

    kill_when(start(words(faces, folder, *settings, "train.steps=12")), is_past_the_checkpoint)
    assert not (folder / "checkpoints" / "student" / "step_8" / "COMMIT").exists(), (
        "it was too late for the kill"
    )
    train(faces, folder, *settings, "train.steps=12", flags=["--resume"])
    assert_same_end(straight, folder)
