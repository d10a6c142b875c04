"""The bench of asynchrony runs, and its parts do what they say; its numbers are for people and quiet machines."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.bench.asynchrony import SLOWED, Bench, slower, time_to
from tools.bench.slow_rank import _then
from tsal_dist.config import load_config
from tsal_dist.planning.split import Costs, Split

ROOT = Path(__file__).parents[3]


def config_of(split, *settings):
    words = Bench(Path("x"), [], batch=8, labelled=8, rounds=1, window_s=1.0).words(split, 4, *settings)
    return load_config([words[0].removeprefix("--config=")], words[1:])


def test_every_side_has_the_same_global_batch():
    synchronous = config_of(None)
    assert synchronous.runtime.topology == "inline"
    assert synchronous.train.unlabelled_batch == 8
    apart = config_of(Split(1, 1))
    assert apart.train.unlabelled_batch == apart.train.labelled_batch == 16
    sharing = config_of(Split(2, 2, shared=True))
    assert sharing.train.unlabelled_batch == 8
    assert sharing.runtime.teachers == "2"
    for ours in (apart, sharing):
        assert ours.method == synchronous.method
        assert ours.model == synchronous.model
        assert ours.train.optim == synchronous.train.optim
        assert ours.runtime.weights == synchronous.runtime.weights
        assert ours.runtime.queue.on_starvation == "wait"  # every label once, as in the baseline


def test_the_time_to_an_error_is_when_it_is_first_reached():
    curve = [(10.0, 0.3), (20.0, 0.2), (30.0, 0.25), (40.0, 0.1)]
    assert time_to(0.2, curve) == 20.0
    assert time_to(0.15, curve) == 40.0
    assert time_to(0.05, curve) == math.inf


def test_what_slows_work_does_not_slow_meetings():
    found = slower(Costs(student_s=5.0, teacher_s=4.0, lone=Costs(4.0, 3.0)))
    assert found == Costs(student_s=9.0, teacher_s=7.0, lone=Costs(8.0, 6.0))


def test_a_pause_is_by_what_was_computed_and_not_by_what_was_waited_for():
    pauses = []

    def work(compute_s, wait_s):
        end = time.process_time() + compute_s
        while time.process_time() < end:
            pass
        time.sleep(wait_s)
        return "done"

    assert _then(work, pauses.append)(0.05, 0.2) == "done"
    assert pauses[0] == pytest.approx(0.05, abs=0.04)


@pytest.mark.slow
def test_a_process_that_is_slowed_starts():
    """Named as a module: beside its page lies a queue.py, which would stand in for Python's own."""
    words = [sys.executable, *SLOWED, "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


@pytest.mark.slow
def test_a_quick_bench_ends_with_a_line_of_json():
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.asynchrony", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout.splitlines()[-1])
    assert [each["name"] for each in page["results"]] == ["equal work, 8 views, 1 teacher + 1 student"]
    assert page["results"][0]["ratio"] > 0
    assert page["plan"][0]["predicted"] > 0
    assert page["costs"]["equal work, 8 views"]["teacher_s"] > 0
    assert page["stall"].keys() == {"healthy", "teacher killed"}
    assert all(0 <= found < 1 for found in page["stall"].values())
