"""Both topologies on this machine with real torchruns: faults, signals, and nothing left behind."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.launch.conftest import QUICK, ROOT
from tests.marks import against_the_clock


def wait_for(condition, job, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert job.process.poll() in (None, -signal.SIGKILL), job.process.communicate()[0]
        time.sleep(0.05)


def alive(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def everyone(job):
    return job.starts("student") + job.starts("teacher")


def commits(job, role):
    return {int(path.parent.name[5:]) for path in job.root.glob(f"checkpoints/{role}/step_*/COMMIT")}


@against_the_clock
def test_split_runs_to_its_end(start_local):
    job = start_local("--procs", "3")
    assert job.finish() == 0, job.output
    assert sorted(start["rank"] for start in job.starts("student")) == [0, 1]
    assert [start["process"] for start in job.starts("teacher")] == [2]
    log = (job.root / "logs" / "world.log").read_text()
    # At step 0, or later where rank 0 had saved before this one looked: the stand-in's ranks do not wait for each other.
    assert "student 1 of 2 starts at step" in log
    assert log in job.output
    assert all(start["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "8" for start in everyone(job))
    assert all(start["MALLOC_TRIM_THRESHOLD_"] for start in everyone(job))


@against_the_clock
def test_a_signal_saves_and_the_next_start_goes_on(start_local):
    # SIGUSR1 on purpose: torchrun itself would not pass it on.
    job = start_local("--procs", "2", steps=400)
    wait_for(lambda: commits(job, "student") and commits(job, "teacher"), job)
    job.process.send_signal(signal.SIGUSR1)
    assert job.finish() == 75, job.output
    saved = max(commits(job, "student"))
    assert not any(alive(start["pid"]) for start in everyone(job))

    refused = start_local("--procs", "2", steps=400)
    assert refused.finish() == 2
    assert "already holds a run" in refused.output
    again = start_local("--procs", "2", "--resume", steps=400)
    wait_for(lambda: len(again.starts("student")) == 2, again)
    again.process.send_signal(signal.SIGTERM)
    assert again.finish() == 75
    assert again.starts("student")[1]["start"] == saved


@against_the_clock
def test_a_teacher_may_fall_and_the_student_does_not_notice(start_local):
    fault = {"teacher": {"at": 7, "how": "crash", "times": 1}}
    job = start_local("--topology", "detached", "--procs", "2", faults=fault, steps=220)
    assert job.finish() == 0, job.output
    assert [start["start"] for start in job.starts("teacher")] == [0, 5]
    assert len(job.starts("student")) == 1
    assert "failure 1 of at most 3" in job.output
    assert "[teacher] teacher 0 of 1 starts at step 5" in job.output


@against_the_clock
def test_a_crew_may_fall_and_the_others_do_not_notice(start_local):
    fault = {"teacher-c2": {"at": 7, "how": "crash", "times": 1}}
    words = ("--topology", "detached", "--procs", "3", "--crews", "2", "runtime.teachers=2")
    job = start_local(*words, faults=fault, steps=220)
    assert job.finish() == 0, job.output
    assert [start["start"] for start in job.starts("teacher-c2")] == [0, 5]
    assert [len(job.starts(role)) for role in ("student", "teacher")] == [1, 1]
    assert "[teacher-c2] teacher-c2 0 of 1 starts at step 5" in job.output
    assert {path.stem for path in (job.root / "ctl" / "exit").iterdir()} == {
        "student",
        "teacher",
        "teacher-c2",
    }


@against_the_clock
def test_a_crew_joins_a_run_that_is_going_and_ends_with_it(start_local):
    nobody = start_local("--crew", "night")
    assert nobody.finish() == 2
    assert "joins a run" in nobody.output
    job = start_local("--procs", "2", steps=200)
    wait_for(lambda: everyone(job), job)
    crew = start_local("--crew", "night", "--procs", "2", steps=200)
    assert job.finish() == 0, job.output
    assert crew.finish() == 0, crew.output
    assert sorted(start["rank"] for start in job.starts("teacher-night")) == [0, 1]
    assert len(everyone(job)) == 2, "those of the run went on"
    assert not any(alive(start["pid"]) for start in job.starts("teacher-night"))


@against_the_clock
def test_a_student_that_keeps_failing_is_given_up_and_takes_the_teacher_along(start_local):
    fault = {"student": {"at": 3, "how": "crash", "times": 99}}
    job = start_local("--topology", "detached", "--procs", "2", "--restarts", "1", faults=fault, steps=10_000)
    assert job.finish() == 1, job.output
    assert len(job.starts("student")) == 2
    assert not any(alive(start["pid"]) for start in everyone(job))


@against_the_clock
def test_a_wrong_config_is_not_tried_again(start_local):
    fault = {role: {"at": 2, "how": "config", "times": 99} for role in ("student", "teacher")}
    job = start_local("--procs", "2", faults=fault)
    assert job.finish() == 2, job.output
    assert len(job.starts("student")) == 1


@against_the_clock
@pytest.mark.parametrize("how", ["kill torchrun", "deaf"])
def test_what_cannot_be_asked_is_ended(start_local, how):
    """Workers whose torchrun was killed, and a worker that does not listen: none outlives the launcher."""
    fault = {"student": {"at": 5, "how": how, "times": 1}}
    job = start_local("--procs", "2", "--restarts", "0", faults=fault, steps=10_000)
    if how == "deaf":
        wait_for((job.root / "logs" / "student.faults").exists, job)
        job.process.terminate()
    # Workers that lost their torchrun save first; a deaf one goes on from its last checkpoint.
    assert job.finish() == 75, job.output
    assert ("ended before it could save" in job.output) == (how == "deaf")
    assert not any(alive(start["pid"]) for start in everyone(job))


@against_the_clock
def test_a_killed_launcher_leaves_an_orderly_end_behind(start_local):
    job = start_local("--procs", "2", steps=10_000)
    wait_for(lambda: commits(job, "student") and commits(job, "teacher"), job)
    job.process.kill()
    wait_for(lambda: not any(alive(start["pid"]) for start in everyone(job)), job, 30.0)
    assert (job.root / "ctl" / "exit" / "student.json").exists()


def test_dry_run_prints_the_commands_and_starts_nothing(tmp_path):
    words = [
        "--config",
        "configs/demo.toml",
        "--topology",
        "detached",
        "--procs",
        "3",
        f"run.dir={tmp_path}/run",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "launch.local", "--dry-run", *words, *QUICK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    student, teacher = done.stdout.splitlines()
    assert "--role=student" in student
    assert "--procs=2" in student
    assert "--role=teacher --first-proc=2" in teacher
    assert not (tmp_path / "run").exists()
