"""Asked to leave, a run saves and says so, whatever it was doing; taken up again, it ends."""

import os
import random
import signal
import time

import pytest

from tests.checkpoint.equality import equal
from tests.marks import against_the_clock
from tests.roles.short_runs import metrics, plans, saved, train
from tests.runs.jobs import beat, committed, last_numbers, log_text, notes, student_step, worker_pids
from tsal_dist.errors import ExitCode

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]
LEFT = {"student": ExitCode.REQUEUE, "teacher": ExitCode.REQUEUE}
SIGNALS = 10
DONE = {"student": ExitCode.DONE, "teacher": ExitCode.DONE}

# What makes each moment long or frequent, so that the signal is likely to fall into it.
MOMENTS = {
    "step": (lambda run: student_step(run) > 10, ()),
    "wait": (
        lambda run: beat(run, "student").get("phase") == "wait for labels",
        ("runtime.queue.on_starvation=wait", "method.views=6"),
    ),
    "evaluation": (
        lambda run: "validation NME" in log_text(run, "student"),
        ("runtime.log.evaluate_every=1",),
    ),
    "publish": (lambda run: last_numbers(run, "teacher"), ("runtime.weights.publish_every=1",)),
    "checkpoint": (lambda run: committed(run), ("runtime.checkpoint.every=1",)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_saves_everything(faces, jobs, tmp_path, moment):
    run = tmp_path / "run"
    ready, more = MOMENTS[moment]
    words = ("train.steps=60", "train.burn_in_steps=2", *more)
    job = jobs.torchrun(faces, run, 2, *words)
    # A teacher that has not absorbed anything yet has nothing to save.
    job.until(lambda: last_numbers(run, "teacher") and ready(run), moment)
    job.send(signal.SIGTERM)
    assert job.finish() != 0
    assert notes(run) == LEFT
    step = committed(run)[-1]
    assert f"stopping at step {step}: " in log_text(run, "student")
    assert saved(run, "student")["planner"]["step"] <= step
    assert committed(run, "teacher")

    again = jobs.torchrun(faces, run, 2, *words, flags=["--resume"])
    assert again.finish() == 0, again.output
    assert notes(run) == DONE
    assert committed(run)[-1] == 60
    assert f"resumed from step {step}" in log_text(run, "student")


def test_workers_leave_when_their_torchrun_is_killed(faces, jobs, tmp_path):
    """Nobody else would ever end them: they save, and say so."""
    run = tmp_path / "run"
    job = jobs.torchrun(faces, run, 2, "train.steps=4000")
    job.until(lambda: committed(run) and last_numbers(run, "teacher"), "a checkpoint")
    workers = worker_pids(run)
    assert len(workers) == 2
    os.kill(job.process.pid, signal.SIGKILL)
    job.finish()
    deadline = time.monotonic() + 60
    while worker_pids(run):
        assert time.monotonic() < deadline, f"of {workers} there are still {worker_pids(run)}"
        time.sleep(0.2)
    assert notes(run) == LEFT
    assert f"stopping at step {committed(run)[-1]}: " in log_text(run, "student")


def nameless(plans):
    """Rows, use and teacher's step of every part, whoever made it."""
    return [[part[2:] for rank in ranks for part in rank] for ranks in plans]


def test_a_deterministic_run_that_was_interrupted_ends_as_if_it_had_not_been(faces, jobs, tmp_path):
    words = ("train.steps=24", "runtime.log.evaluate_every=24")
    whole = train(faces, tmp_path / "whole", *words)
    run = tmp_path / "run"
    job = jobs.inline(faces, run, *words)
    job.until(lambda: student_step(run) >= 5, "steps")
    job.send(signal.SIGTERM)
    assert job.finish() == ExitCode.REQUEUE
    assert notes(run) == {"student": ExitCode.REQUEUE}
    assert committed(run)[-1] < 24
    again = jobs.inline(faces, run, *words, flags=["--resume"])
    assert again.finish() == ExitCode.DONE
    # The second attempt's labels have a producer of their own; what they say, and in which order, is the same.
    assert nameless(plans(run)) == nameless(plans(whole))
    assert metrics(run) == metrics(whole)
    assert equal(saved(run, "student")["engine"], saved(whole, "student")["engine"])
    assert equal(saved(run, "teacher")["engine"], saved(whole, "teacher")["engine"])


@pytest.mark.timeout(900)
def test_a_signal_at_any_moment_of_the_start_asks_to_be_started_again(faces, jobs, tmp_path):
    """Imports, joining, data, models: whatever it strikes, it is neither lost nor told in a traceback."""
    words, draw, first = ("train.steps=4000",), random.Random(0), tmp_path / "first"
    started = time.monotonic()
    whole = jobs.inline(faces, first, *words)
    whole.until((first / "run.json").exists, "the run")
    opened_s = time.monotonic() - started
    whole.until(lambda: student_step(first) >= 1, "a step")
    built_s = time.monotonic() - started - opened_s
    whole.send(signal.SIGTERM)
    assert whole.finish() == ExitCode.REQUEUE
    for moment in range(SIGNALS):
        run, late = tmp_path / f"run{moment}", bool(moment % 2)
        job = jobs.inline(faces, run, *words)
        if late:
            job.until((run / "run.json").exists, "the run")
        time.sleep(draw.random() * (built_s if late else opened_s))
        job.send(signal.SIGTERM)
        code, at = job.finish(90), f"{moment} of {SIGNALS}:\n{job.output}"
        assert "Traceback" not in job.output, at
        if code == -signal.SIGTERM:
            assert not run.exists(), f"it had begun, and did not listen; {at}"
            continue
        assert code == ExitCode.REQUEUE, at
        assert "SIGTERM before training had begun" in job.output or "Everything is saved" in job.output, at
        assert notes(run) == ({"student": ExitCode.REQUEUE} if run.exists() else {}), at


def test_both_roles_leave_when_their_torchrun_is_asked_to_while_they_start(faces, jobs, tmp_path):
    run = tmp_path / "run"
    words = ("train.steps=60", "train.burn_in_steps=2")
    job = jobs.torchrun(faces, run, 2, *words)
    job.until(lambda: (run / "run.json").exists(), "the run")
    job.send(signal.SIGTERM)
    assert job.finish() != 0
    assert notes(run) == LEFT
    assert not worker_pids(run)
    again = jobs.torchrun(faces, run, 2, *words, flags=["--resume"])
    assert again.finish() == 0, again.output
    assert notes(run) == DONE
