"""A student that is stopped inside a save and wakes up long after its successor went on: it ends, and spoils nothing."""

import json
import signal

import pytest

from tests.checkpoint.equality import equal
from tests.marks import against_the_clock
from tests.roles.short_runs import saved
from tests.runs.jobs import Jobs, committed, kill
from tsal_dist.errors import ExitCode

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow]
ALONE = (
    "method.name=supervised",
    "train.steps=4000",
    "runtime.checkpoint.every=10",
    "runtime.checkpoint.keep=3",
    "runtime.log.every=1000",
)


def test_a_student_that_wakes_up_leaves_its_successors_checkpoints_alone(faces, tmp_path):
    folder = tmp_path / "run"
    place = folder / "checkpoints" / "student"
    with Jobs() as jobs:
        zombie = jobs.role(faces, folder, "student", *ALONE)
        zombie.until(lambda: committed(folder, "student"), "a checkpoint")
        zombie.until(lambda: list(place.glob(".step_*.tmp/*")), "a save")
        kill(zombie.process.pid, signal.SIGSTOP)
        before = committed(folder, "student")[-1]
        successor = jobs.role(faces, folder, "student", *ALONE)
        successor.until(lambda: committed(folder, "student")[-1] >= before + 40, "progress")
        kill(successor.process.pid, signal.SIGSTOP)
        left = committed(folder, "student")
        states = {step: saved(folder, "student", step) for step in left}
        kill(zombie.process.pid, signal.SIGCONT)
        assert zombie.finish() == ExitCode.FAILED
        assert "was started again as incarnation 2" in zombie.output
        assert "Traceback" not in zombie.output
        assert not (folder / "ctl" / "exit" / "student.json").exists(), "its end is not the role's"
        assert committed(folder, "student") == left
        assert all(equal(saved(folder, "student", step), state) for step, state in states.items())
        kill(successor.process.pid, signal.SIGCONT)
        successor.until(lambda: committed(folder, "student")[-1] > left[-1], "more progress")
        successor.send(signal.SIGTERM)
        assert successor.finish() == ExitCode.REQUEUE
    commit = json.loads((place / f"step_{committed(folder, 'student')[-1]}" / "COMMIT").read_text())
    assert commit["incarnation"] == 2
