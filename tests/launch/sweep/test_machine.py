"""A machine's processes: none outlives it, and whoever is asked may save first."""

import os
import signal
import subprocess
import sys
import time

import pytest

from launch.sweep.machine import Machine
from tests.launch.conftest import QUICK, ROOT
from tests.launch.sweep.sweeping import assert_nothing_left, processes_of

STEPS = ["train.steps=4000", *QUICK]
KEEPS_A_CREW = """
import sys, time
from pathlib import Path
from launch.sweep.machine import Machine
machine = Machine(Path.cwd(), Path(sys.argv[1]))
print(machine.start("world", sys.argv[2:], Path(sys.argv[1]) / "world.log", {}), flush=True)
"""


def words(run):
    return [
        "--config",
        "configs/demo.toml",
        "--procs=2",
        "--module=tests.launch.stand_in",
        *STEPS,
        f"run.dir={run}",
    ]


def keep(tmp_path, then):
    command = [sys.executable, "-c", KEEPS_A_CREW + then, str(tmp_path), *words(tmp_path / "run")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_machine_that_is_killed_takes_its_crew_along_which_saves(tmp_path):
    keeper = keep(tmp_path, "time.sleep(3600)")
    try:
        wait_for(lambda: list(tmp_path.glob("run/checkpoints/student/step_*/COMMIT")))
    finally:
        keeper.send_signal(signal.SIGKILL)
        keeper.communicate()
    assert_nothing_left(tmp_path / "run")
    assert '"code": 75' in (tmp_path / "run/ctl/exit/student.json").read_text()


@pytest.mark.slow
def test_a_crew_that_is_killed_leaves_nothing_behind(tmp_path):
    then = "time.sleep(1)\nwhile None in machine.poll().values(): time.sleep(0.1)\nprint(machine.end(5), flush=True)"
    keeper = keep(tmp_path, then)
    try:
        pid = int(keeper.stdout.readline())
        wait_for(lambda: (tmp_path / "run/logs/starts.jsonl").exists())
        os.kill(pid, signal.SIGKILL)
        keeper.communicate(timeout=60)
    finally:
        keeper.kill()
        keeper.communicate()
    assert keeper.returncode == 0
    assert processes_of(tmp_path / "run") == []


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not see .*/nowhere.*every node"):
        Machine(ROOT, tmp_path / "nowhere")


def test_two_ports_are_two(tmp_path, monkeypatch):
    monkeypatch.setattr("launch.sweep.machine.adopt_orphans", lambda: None)
    machine = Machine(ROOT, tmp_path)
    assert len({machine.free_port() for _ in range(3)}) > 1
