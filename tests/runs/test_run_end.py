"""However a run ends, all of it ends soon, and everybody says the same."""

import signal

import pytest

from tests.marks import against_the_clock
from tests.runs.jobs import beat, committed, last_numbers, log_text, notes
from tsal_dist.errors import ExitCode

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]
SOON_S = 60.0
PATIENT = (
    "runtime.deadlines.silent_s=200",
    "runtime.deadlines.meet_s=200",
    "runtime.deadlines.group_s=210",
    "runtime.deadlines.shutdown_s=220",
    "runtime.deadlines.grace_s=230",
)


def start(faces, jobs, run, *more):
    return [jobs.role(faces, run, role, *more) for role in ("student", "teacher")]


def started(faces, jobs, run, *more):
    student, teacher = start(faces, jobs, run, *more)
    student.until(lambda: last_numbers(run, "student").get("queue/delivered", 0) > 0, "first labels")
    return student, teacher


def test_the_student_reaches_its_last_step_first(faces, jobs, tmp_path):
    run = tmp_path / "run"
    student, teacher = start(faces, jobs, run, "train.steps=30")
    assert student.finish() == ExitCode.DONE
    assert teacher.finish(SOON_S) == ExitCode.DONE
    assert "the student has reached its last step" in log_text(run, "teacher")
    assert notes(run) == {"student": ExitCode.DONE, "teacher": ExitCode.DONE}

    # Started once more, nobody waits for anybody: the run is over.
    late = jobs.role(faces, run, "teacher", "train.steps=30")
    assert late.finish(SOON_S) == ExitCode.DONE
    again = jobs.role(faces, run, "student", "train.steps=30")
    assert again.finish(SOON_S) == ExitCode.DONE
    assert committed(run)[-1] == 30


def test_the_teacher_is_told_to_leave_first(faces, jobs, tmp_path):
    run = tmp_path / "run"
    student, teacher = started(faces, jobs, run, "train.steps=120")
    teacher.send(signal.SIGTERM)
    assert teacher.finish(SOON_S) == ExitCode.REQUEUE
    assert student.finish() == ExitCode.DONE
    assert notes(run) == {"student": ExitCode.DONE, "teacher": ExitCode.REQUEUE}
    assert "teacher 0 has left" in log_text(run, "student")


def test_both_are_told_to_leave_at_once(faces, jobs, tmp_path):
    run = tmp_path / "run"
    both = started(faces, jobs, run, "train.steps=4000")
    for job in both:
        job.send(signal.SIGTERM)
    assert [job.finish(SOON_S) for job in both] == [ExitCode.REQUEUE] * 2
    assert f"stopping at step {committed(run)[-1]}" in log_text(run, "student")


def test_who_waits_for_the_other_role_leaves_when_asked(faces, jobs, tmp_path):
    run = tmp_path / "run"
    for role in ("student", "teacher"):
        alone = jobs.role(faces, run, role, *PATIENT)
        alone.until(lambda name=role: beat(run, name), "sign of life")
        alone.send(signal.SIGTERM)
        assert alone.finish(SOON_S) == ExitCode.REQUEUE
