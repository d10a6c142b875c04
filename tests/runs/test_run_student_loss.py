"""A student that dies goes on from its last COMMIT, with labels it had not been taught with."""

import signal

import pytest

from tests.marks import against_the_clock
from tests.roles.short_runs import saved
from tests.runs.jobs import committed, kill, last_numbers, log_text, notes, student_step, worker_pid
from tsal_dist.errors import ExitCode
from tsal_dist.pseudo.step_plan import Plan, load_plans

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]


def steps_planned(folder):
    """As they were planned, those of histories that did not happen included."""
    import json

    lines = (folder / "metrics" / "plan.jsonl").read_text().splitlines()
    return [Plan.from_json(json.loads(line)).step for line in lines]


def assert_went_back(folder, steps):
    """The log of plans has a step after which it goes on from an earlier one, and the surviving one lacks none."""
    planned = steps_planned(folder)
    assert any(later <= earlier for earlier, later in zip(planned, planned[1:], strict=False))
    assert [plan.step for plan in load_plans(folder / "metrics" / "plan.jsonl")] == list(range(4, steps))


@pytest.mark.parametrize("victims", [[("student", 1)], [("student", 0), ("teacher", 0)]], ids=["one", "both"])
def test_torchrun_restarts_a_split_world_from_its_last_commit(faces, jobs, tmp_path, victims):
    run = tmp_path / "run"
    job = jobs.torchrun(faces, run, 3, "train.steps=60", restarts=1)
    job.until(
        lambda: committed(run) and student_step(run) > committed(run)[-1] + 2, "steps after a checkpoint"
    )
    for pid in [worker_pid(run, *victim) for victim in victims]:
        kill(pid)
    assert job.finish() == 0, job.output
    assert notes(run) == {"student": ExitCode.DONE, "teacher": ExitCode.DONE}
    assert "resumed from step" in log_text(run, "student")
    assert (run / "logs" / "attempt_1").is_dir()
    assert_went_back(run, 60)


def test_teachers_park_until_a_student_is_back_and_any_number_of_ranks_may_go_on(faces, jobs, tmp_path):
    """Two students leave a checkpoint, one goes on from it and is killed, three finish."""
    run = tmp_path / "run"
    more = ("train.steps=90", "runtime.queue.on_starvation=wait")
    first = jobs.torchrun(faces, run, 3, *more)
    first.until(lambda: committed(run), "checkpoint")
    first.send(signal.SIGTERM)
    first.finish()
    assert notes(run) == {"student": ExitCode.REQUEUE, "teacher": ExitCode.REQUEUE}
    stopped_at = committed(run)[-1]

    teacher = jobs.role(faces, run, "teacher", *more)
    second = jobs.role(faces, run, "student", *more)
    second.until(lambda: committed(run)[-1] > stopped_at, "checkpoint of one rank")
    second.until(lambda: last_numbers(run, "teacher").get("step", 0) > committed(run)[-1], "version after it")
    second.send(signal.SIGKILL)
    second.finish()
    teacher.until(lambda: last_numbers(run, "teacher") and '"parked"' in beat_text(run), "parked teacher")

    third = jobs.crew(faces, run, "student", 3, *more)
    assert third.finish() == 0, third.output
    assert teacher.finish() == ExitCode.DONE
    assert notes(run) == {"student": ExitCode.DONE, "teacher": ExitCode.DONE}
    assert "so does the teacher" in log_text(run, "teacher"), "it forgets the history that was lost"
    assert "was saved by 2 ranks, now 1" in log_text(run, "student")
    assert "was saved by 1 ranks, now 3" in log_text(run, "student")
    assert_went_back(run, 90)
    assert saved(run, "student")["planner"]["step"] == 89


def beat_text(folder):
    return (folder / "ctl" / "beat" / "teacher-0.json").read_text()
