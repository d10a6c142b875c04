"""What was started ends with its starter, however it tries not to."""

import os
import subprocess
import sys

import pytest

from launch.processes import descendants
from tests.launch.conftest import ROOT


def run(script, *words):
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


STARTER = """
import os, sys, time
from launch import processes
from tsal_dist.dist.parent_death import adopt_orphans
adopt_orphans()
child = processes.start([sys.executable, "-c", sys.argv[1]], dict(os.environ))
"""
WAITER = "import time; print('up', flush=True); time.sleep(600)"


def test_a_child_is_asked_to_leave_when_its_starter_is_killed(tmp_path):
    # Blocked and waited for: a handler may run just before a pause() that then never ends.
    child = (
        "import signal, pathlib; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print('up', flush=True); "
    )
    child += f"signal.sigwait([15]); pathlib.Path({str(tmp_path / 'asked')!r}).touch()"
    with run(STARTER + "child.wait()", child) as starter:
        assert starter.stdout.readline() == "up\n"
        starter.kill()
        assert starter.stdout.read() == ""  # ends when the child has closed it, too
    assert (tmp_path / "asked").exists()


# An orphan in a session of its own, which the starter has never heard of; a child that does not listen.
ORPHAN = f"import subprocess, sys, os; subprocess.Popen([sys.executable, '-c', {WAITER!r}], start_new_session=True)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.mark.parametrize("child", [ORPHAN, DEAF])
def test_nothing_survives(child):
    script = STARTER + "sys.stdin.readline()\nprocesses.end_descendants(0.3)\nprint(processes.descendants())"
    with subprocess.Popen(
        [sys.executable, "-c", script, child],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout.readline() == "up\n"
        [below] = descendants(starter.pid)
        assert starter.communicate("go\n", timeout=20)[0] == "[]\n"
    with pytest.raises(ProcessLookupError):
        os.kill(below, 0)


def test_only_statuses_that_nobody_asks_for_are_taken():
    script = """
import os, sys, time
from launch import processes
from tsal_dist.dist.parent_death import adopt_orphans
adopt_orphans()
leave = [sys.executable, "-c", "raise SystemExit(3)"]
orphan = [sys.executable, "-c", "import os; print(os.fork() or 'grandchild', flush=True)"]
ours = [processes.start(words, dict(os.environ)) for words in (leave, leave, orphan)]
while len([1 for _, parent, state in processes._table() if parent == os.getpid() and state == "Z"]) < 4:
    time.sleep(0.01)
processes.reap(spare=[one.pid for one in ours])
print([pid for pid, parent, _ in processes._table() if parent == os.getpid()] == [one.pid for one in ours])
print([one.wait() for one in ours])
"""
    with run(script) as starter:
        said, error = starter.communicate(timeout=20)
    assert said.splitlines()[-2:] == ["True", "[3, 3, 0]"], error
