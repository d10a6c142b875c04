"""Real crews of teachers beside one student: a slow one, a killed one, a late one, one that is started twice."""

import json
import signal
import sys

import pytest

from tests.marks import against_the_clock
from tests.roles.short_runs import words
from tests.runs.jobs import QUICK, beat, log_text, notes, student_step
from tsal_dist.errors import ExitCode
from tsal_dist.insight.audit import audit_run
from tsal_dist.run_dir import RunDir

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]
MORE = ("train.steps=100000", "runtime.deadlines.silent_s=6")
SIX_TIMES_SLOWER = ("-m", "tools.bench.slow_rank", "--base=6", "--cv=0", "--")


def trained_on(run):
    """Rows that the student planned, by producer."""
    path, found = run / "metrics" / "plan.jsonl", {}
    for line in path.read_text().split("\n")[:-1] if path.exists() else []:
        for ranges in json.loads(line)["ranks"]:
            for producer, _, start, stop, *_ in ranges:
                found[producer] = found.get(producer, 0) + stop - start
    return found


def test_crews_come_and_go_and_the_student_trains_on(faces, jobs, tmp_path):
    run = tmp_path / "run"
    student = jobs.role(faces, run, "student", *MORE)
    elder = jobs.role(faces, run, "teacher", *MORE)
    own = ("runtime.topology=detached", "runtime.role=teacher", "runtime.crew=slow")
    command = [
        sys.executable,
        *SIX_TIMES_SLOWER,
        "--resume-or-start",
        *words(faces, run, *QUICK, *own, *MORE),
    ]
    slow = jobs._start(command, run, "slow")
    first, slow_one = "teacher-r0000-000001", "teacher-slow-r0000-000001"
    student.until(lambda: {first, slow_one} <= trained_on(run).keys(), "labels of both crews")

    slow.send(signal.SIGKILL)
    student.until(lambda: "going on with those of other teachers" in log_text(run, "student"), "word of it")
    late = jobs.crew(faces, run, "teacher", 2, *MORE, "runtime.crew=late")
    both = {"teacher-late-r0000-000001", "teacher-late-r0001-000001"}
    student.until(lambda: both <= trained_on(run).keys(), "labels of both ranks of the crew that joined")

    younger = jobs.role(faces, run, "teacher", *MORE)
    assert elder.finish() == ExitCode.FAILED
    assert "teacher 0 was started again as incarnation 2" in elder.output
    student.until(lambda: "teacher-r0000-000002" in trained_on(run), "labels of the successor")
    assert late.process.poll() is None, "that the first crew was started twice is no business of the late one"
    assert beat(run, "teacher-late")["incarnation"] == 1

    at = student_step(run)
    student.until(lambda: student_step(run) > at + 10, "further steps")
    assert "then without" not in log_text(run, "student"), "there always was somebody"
    for job in (student, younger, late):
        job.send(signal.SIGTERM)
    assert student.finish() == younger.finish() == ExitCode.REQUEUE
    late.finish()  # by torchrun, which has a code of its own for this
    assert notes(run) == {"student": 75, "teacher": 75, "teacher-late": 75}

    audit = audit_run(RunDir(run))
    assert audit.violations == []
    assert {producer for producer, _ in audit.segments} == {
        first,
        "teacher-r0000-000002",
        slow_one,
        *both,
    }
