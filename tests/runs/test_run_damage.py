"""Broken segments and a full disk: nothing wrong is learnt, nothing is lost, and a clear line says what happened."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

from tests.marks import against_the_clock
from tests.roles.short_runs import words
from tests.runs.jobs import QUICK, beat, committed, last_numbers, log_text, student_step
from tsal_dist.config import load_config
from tsal_dist.errors import ExitCode
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.run import open_run

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]
LONG = ("train.steps=4000",)


def segments(folder):
    """Published segments, the newest last."""
    return sorted(
        (folder / "queue" / "labels" / "p").rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns
    )


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))


def tear(path):
    os.truncate(path, path.stat().st_size // 2)


def damage_unread(student, teacher, run, acts):
    """Damage the newest segments while nobody reads them."""
    student.send(signal.SIGSTOP)
    known = len(segments(run))
    teacher.until(lambda: len(segments(run)) >= known + len(acts) + 1, "more segments")
    teacher.send(signal.SIGSTOP)
    time.sleep(0.1)
    for path, act in zip(segments(run)[known:], acts, strict=False):
        act(path)
    for job in (teacher, student):
        job.send(signal.SIGCONT)


def test_damaged_segments_are_set_aside_and_many_of_them_end_the_run(faces, jobs, tmp_path):
    run = tmp_path / "run"
    more = (*LONG, "runtime.queue.segment_rows=8", "runtime.queue.high_water_rows=512")
    student, teacher = (jobs.role(faces, run, role, *more) for role in ("student", "teacher"))
    student.until(lambda: last_numbers(run, "student").get("queue/delivered", 0) > 0, "first labels")
    damage_unread(student, teacher, run, [flip, tear])
    at = student_step(run)
    student.until(lambda: last_numbers(run, "student")["queue/quarantined"] >= 16, "quarantine")
    student.until(lambda: student_step(run) > at + 4, "steps after it")
    aside = [
        path for path in (run / "queue/labels").rglob("*") if "quarantine" in str(path) and path.is_file()
    ]
    assert aside, "with their reason beside them"

    damage_unread(student, teacher, run, [flip] * 24)
    assert student.finish() == ExitCode.FAILED
    assert re.search(r"\d+ of \d+ segments in .*labels were damaged, the last because", student.output)
    assert "Look at the disk or the network" in student.output.strip().splitlines()[-1]


@contextmanager
def small_disk(place, size):
    """A disk of its own at `place`."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here; root can")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def small_queue(faces, run, *more):
    """A run directory whose queue lies on a small disk of its own."""
    open_run(load_config([], words(faces, run, *QUICK, *more)), "new")
    return small_disk(run / "queue", "32m")


def fill(path):
    """Take all the space there is."""
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def assert_recovers(student, teacher, run, filler):
    """With room again, labels come again, and both leave in good order with nothing lost."""
    known = last_numbers(run, "student")["queue/committed"]
    filler.unlink()
    student.until(lambda: last_numbers(run, "student")["queue/committed"] > known, "labels again")
    for job in (student, teacher):
        job.send(signal.SIGTERM)
    assert student.finish() == teacher.finish() == ExitCode.REQUEUE
    assert last_numbers(run, "student")["queue/quarantined"] == 0


def test_a_full_disk_parks_the_teacher_and_nobody_else(faces, jobs, tmp_path):
    run, filler = tmp_path / "run", tmp_path / "run" / "queue" / "filler"
    never_parked = (*LONG, "runtime.queue.high_water_rows=1000000")  # it labels on, and so finds out
    with small_queue(faces, run, *never_parked):
        student, teacher = (jobs.role(faces, run, role, *never_parked) for role in ("student", "teacher"))
        student.until(lambda: last_numbers(run, "student").get("queue/delivered", 0) > 0, "first labels")
        fill(filler)
        teacher.until(lambda: "labels wait:" in log_text(run, "teacher"), "word of the full disk")
        at = student_step(run)
        student.until(lambda: student_step(run) > at + 20, "steps beside a full disk")
        (line,) = [line for line in log_text(run, "teacher").splitlines() if "labels wait:" in line]
        assert "the disk is full; free some space, nothing that was committed is lost" in line
        assert not [path for path in (run / "queue" / "labels" / "tmp").rglob("*") if path.is_file()]
        assert_recovers(student, teacher, run, filler)


def test_a_teacher_that_was_parked_when_the_disk_filled_outlives_it(faces, jobs, tmp_path):
    """It writes nothing and does not find out; the student trains on, and cannot show how far."""
    run, filler = tmp_path / "run", tmp_path / "run" / "queue" / "filler"
    with small_queue(faces, run, *LONG):
        student, teacher = (jobs.role(faces, run, role, *LONG) for role in ("student", "teacher"))
        student.until(lambda: last_numbers(run, "student").get("queue/delivered", 0) > 0, "first labels")
        student.send(signal.SIGSTOP)  # so that the other one is ahead
        teacher.until(lambda: beat(run, "teacher").get("phase") == "parked", "a parked teacher")
        fill(filler)
        student.send(signal.SIGCONT)
        alive = "the student lives, and does not say what it has trained"
        teacher.until(lambda: alive in log_text(run, "teacher"), "word of the student")
        assert "The cursor is not shown" in log_text(run, "student")
        at = student_step(run)
        student.until(lambda: student_step(run) > at + 20, "steps beside a full disk")
        assert_recovers(student, teacher, run, filler)


def test_a_disk_that_is_full_for_a_while_costs_a_run_nothing(faces, jobs, tmp_path):
    """Metrics, plan log, checkpoints, weights, heartbeats: all of them wait, none of them ends the student."""
    patient = (*LONG, "runtime.deadlines.silent_s=39")  # for a test whose machine has other work
    with small_disk(tmp_path / "run", "64m") as run:
        filler = run / "filler"
        student, teacher = (jobs.role(faces, run, role, *patient) for role in ("student", "teacher"))
        student.until(lambda: committed(run, "student"), "a checkpoint")
        fill(filler)
        student.until(lambda: "s for room: " in student.output, "word of the full disk")
        before = committed(run, "student")[-1]
        filler.unlink()
        student.until(lambda: committed(run, "student")[-1] > before, "checkpoints again")
        for job in (student, teacher):
            job.send(signal.SIGTERM)
        assert student.finish() == teacher.finish() == ExitCode.REQUEUE
        assert "Traceback" not in student.output + teacher.output
        steps = [plan.step for plan in load_plans(run / "metrics" / "plan.jsonl")]
        assert steps == list(range(steps[0], steps[0] + len(steps))), "no line is missing"


def test_a_disk_that_is_too_small_ends_with_a_sentence(faces, jobs, tmp_path):
    with small_disk(tmp_path / "run", "2m") as run:
        more = (*LONG, "method.name=supervised", "runtime.deadlines.silent_s=3")
        student = jobs.role(faces, run, "student", *more)
        assert student.finish() == ExitCode.FAILED
    assert "Traceback" not in student.output
    last = student.output.strip().splitlines()[-1]
    assert re.search(
        r"error: The checkpoint of step 10 could not be written .*the disk is full; free some", last
    )
