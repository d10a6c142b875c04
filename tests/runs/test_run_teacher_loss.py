"""A teacher that dies, hangs or never comes costs the student fresh labels, never steps."""

import signal
import time

import pytest

from tests.marks import against_the_clock
from tests.runs.jobs import (
    beat,
    committed,
    kill,
    last_numbers,
    log_text,
    notes,
    student_step,
    worker_pid,
)
from tsal_dist.errors import ExitCode

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]


def fed(folder):
    return last_numbers(folder, "student").get("queue/delivered", 0) > 0


def test_a_killed_teacher_is_started_again_while_the_student_goes_on(faces, jobs, tmp_path):
    run = tmp_path / "run"
    job = jobs.local(faces, run, "train.steps=300")
    job.until(lambda: fed(run), "first labels")
    first, starts = worker_pid(run, "teacher"), log_text(run, "student").count("attempt 0, process")
    kill(first)
    job.until(lambda: len(list((run / "queue/labels/p").iterdir())) == 2, "successor's queue")
    job.until(lambda: worker_pid(run, "teacher") not in (None, first), "successor")
    assert job.finish() == ExitCode.DONE
    assert "teacher ended: failed" in job.output
    assert log_text(run, "student").count("attempt 0, process") == starts, "the student went on"
    assert committed(run)[-1] == 300
    assert notes(run) == {"student": 0, "teacher": 0}


def test_a_student_whose_teacher_is_gone_for_good_ends_and_says_what_it_did(faces, jobs, tmp_path):
    """Three lives: it loses its teacher, is killed itself, and comes back to nobody."""
    run = tmp_path / "run"
    more = ("train.steps=120", "runtime.deadlines.silent_s=4")
    student = jobs.role(faces, run, "student", *more)
    teacher = jobs.role(faces, run, "teacher", *more)
    student.until(lambda: fed(run), "first labels")
    teacher.send(signal.SIGKILL)
    gone_at = student_step(run)
    student.until(lambda: student_step(run) > gone_at + 20, "steps without a teacher")
    student.until(lambda: committed(run), "checkpoint")
    student.send(signal.SIGKILL)
    student.finish()
    again = jobs.role(faces, run, "student", *more)
    assert again.finish() == ExitCode.DONE
    assert committed(run)[-1] == 120
    assert "resumed from step" in log_text(run, "student")
    assert "going on without a teacher: teacher 0 did not answer" in log_text(run, "student")
    last = last_numbers(run, "student")
    assert last["step"] == 120
    assert last["queue/missing"] > 0
    assert last["queue/pending"] == 0, "what the teacher had sent was used up"


def test_a_stopped_teacher_is_named_and_what_it_does_later_changes_nothing(faces, jobs, tmp_path):
    """SIGSTOP is how a hung machine looks from outside; SIGCONT makes it a zombie, for a successor has come."""
    run = tmp_path / "run"
    more = ("train.steps=2000", "runtime.deadlines.silent_s=4")
    student = jobs.role(faces, run, "student", *more)
    zombie = jobs.role(faces, run, "teacher", *more)
    student.until(lambda: fed(run), "first labels")
    zombie.send(signal.SIGSTOP)
    silent_at = student_step(run)
    student.until(lambda: "teacher 0 gave its last sign of life" in log_text(run, "student"), "word of it")
    student.until(lambda: student_step(run) > silent_at + 4, "steps without a teacher")
    successor = jobs.role(faces, run, "teacher", *more)
    student.until(lambda: "the teacher is back" in log_text(run, "student"), "successor")
    incarnation = beat(run, "teacher")["incarnation"]
    zombies = sorted((run / "queue/labels/p").iterdir())[0]
    seen = {path: path.read_bytes() for path in zombies.rglob("*") if path.is_file()}

    zombie.send(signal.SIGCONT)
    assert zombie.finish() == ExitCode.FAILED
    assert "was started again as incarnation 2" in zombie.output
    assert incarnation == beat(run, "teacher")["incarnation"] == 2
    assert all(path.read_bytes() == data for path, data in seen.items() if path.suffix == ".parquet")
    alive_at = student_step(run)
    student.until(lambda: student_step(run) > alive_at + 4, "steps with the successor")
    assert successor.process.poll() is None
    for job in (student, successor):
        job.send(signal.SIGTERM)
    assert student.finish() == successor.finish() == ExitCode.REQUEUE


def test_a_student_that_must_not_starve_ends_and_names_who_it_waits_for(faces, jobs, tmp_path):
    run = tmp_path / "run"
    more = ("train.steps=2000", "runtime.deadlines.silent_s=4", "runtime.queue.on_starvation=abort")
    student = jobs.role(faces, run, "student", *more)
    teacher = jobs.role(faces, run, "teacher", *more)
    student.until(lambda: fed(run), "first labels")
    teacher.send(signal.SIGSTOP)
    assert student.finish() == ExitCode.FAILED
    last_word = student.output.strip().splitlines()[-1]
    assert "No labels came for 4 s" in last_word
    assert "teacher 0 gave its last sign of life" in last_word
    assert str(run / "queue" / "labels") in last_word


def test_a_partner_that_comes_after_every_other_deadline_is_met(faces, jobs, tmp_path):
    """Machines come one by one. The student's second rank waits in a collective, which would not last as long."""
    run = tmp_path / "run"
    more = ("train.steps=8", "runtime.deadlines.silent_s=3", "runtime.deadlines.group_s=6")
    more += ("runtime.deadlines.meet_s=100",)
    student = jobs.crew(faces, run, "student", 2, *more)
    student.until(lambda: (run / "ctl/hello/student-0.json").exists(), "its hello", 60)
    time.sleep(9)
    assert student.process.poll() is None, student.output[-2000:]
    teacher = jobs.role(faces, run, "teacher", *more)
    assert student.finish() == teacher.finish() == ExitCode.DONE


def test_roles_that_look_at_different_folders_find_out_at_the_start(faces, jobs, tmp_path):
    student = jobs.role(faces, tmp_path / "here", "student", "runtime.deadlines.meet_s=3")
    teacher = jobs.role(faces, tmp_path / "there", "teacher", "runtime.deadlines.meet_s=3")
    assert student.finish() == teacher.finish() == ExitCode.FAILED
    for job, place, peer in ((student, "here", "teacher 0"), (teacher, "there", "student 0")):
        last_word = job.output.strip().splitlines()[-1]
        assert f"{peer} did not answer within 3 s" in last_word
        assert str(tmp_path / place) in last_word
