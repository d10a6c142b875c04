"""What the batch shell makes of signals and of the roles' notes; Slurm's commands stand in by scripts that keep a record."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from launch.exit_status import read_endings, worst
from tests.launch.conftest import ROOT
from tsal_dist.run_dir import RunDir

JOB = """
roles=({roles}) run=run restarts=3 shutdown_s=5 note_wait_s={note_wait_s}
source {keep}
{command}
"""
STEP = """#!/bin/bash
echo start >> starts
{how}
"""
UNTIL_ASKED = """
until [[ -e asked ]]; do sleep 0.05; done
mkdir -p run/ctl/exit
echo '{"code": 75, "reason": "SIGTERM", "attempt": 0}' > run/ctl/exit/student.json
exit 75
"""


@pytest.fixture
def start(tmp_path):
    """`start(how)` is a batch shell that keeps a step which ends like that."""
    for name, does in {
        "scontrol": 'case $1 in show) echo n1;; *) echo "$@" >> scontrol.log;; esac',
        "scancel": "touch asked",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    shells = []

    def start(how, command="keep ./step\nleave $?", roles="student", note_wait_s=0):
        (tmp_path / "step").write_text(STEP.format(how=how))
        (tmp_path / "step").chmod(0o755)
        text = JOB.format(
            keep=ROOT / "launch/slurm/keep.sh", command=command, roles=roles, note_wait_s=note_wait_s
        )
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        environment["SLURM_JOB_NODELIST"] = "n1"
        with (tmp_path / "said").open("w") as said:
            shells.append(subprocess.Popen(["bash", "-c", text], cwd=tmp_path, env=environment, stdout=said))
        return shells[-1]

    yield start
    for shell in shells:
        shell.kill()
        shell.wait()


def wait_until(ready):
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("signals", "requeued"),
    [
        ([signal.SIGUSR1], ["requeue 7"]),
        ([signal.SIGTERM], []),  # scancel JOB
        ([signal.SIGUSR1, signal.SIGTERM], []),
    ],
)
def test_only_a_warned_job_comes_back(signals, requeued, start, tmp_path):
    shell = start(UNTIL_ASKED.replace("exit 75", "sleep 1; exit 75"))
    wait_until((tmp_path / "starts").exists)
    for number in signals:
        shell.send_signal(number)
        time.sleep(0.3)
    assert shell.wait(20) == 75
    assert lines(tmp_path / "scontrol.log") == requeued
    assert "student: exit code 75, SIGTERM" in lines(tmp_path / "said")
    assert len(lines(tmp_path / "starts")) == 1


def test_a_warning_between_two_starts_is_heard(start, tmp_path):
    shell = start("exit 1")
    wait_until(lambda: any("starting again" in line for line in lines(tmp_path / "said")))
    shell.send_signal(signal.SIGUSR1)
    assert shell.wait(20) == 75
    assert lines(tmp_path / "scontrol.log") == ["requeue 7"]
    assert len(lines(tmp_path / "starts")) == 1


def test_a_warning_while_notes_are_read_is_heard(start, tmp_path):
    sleep = tmp_path / "sleep"
    sleep.write_text(f'#!/bin/bash\ntouch reading\nexec {shutil.which("sleep")} "$@"\n')
    sleep.chmod(0o755)
    shell = start("exit 1", note_wait_s=2)
    wait_until((tmp_path / "reading").exists)  # nothing else sleeps before the first end
    shell.send_signal(signal.SIGUSR1)
    assert shell.wait(20) == 75
    assert lines(tmp_path / "scontrol.log") == ["requeue 7"]
    assert "student: exit code 1, left no note" in lines(tmp_path / "said"), (
        "it had ended before it was asked"
    )
    assert len(lines(tmp_path / "starts")) == 1


NOTES = [
    {"code": 0, "reason": "done"},
    {"code": 1, "reason": 'says "code": 2, and \\ more'},
    {"code": 2, "reason": "the config"},
    {"code": 75, "reason": "SIGTERM"},
    {"code": 9, "reason": "unknown"},
    {"code": "75", "reason": "no number"},
    None,
]


@pytest.mark.parametrize("asked", [False, True])
def test_notes_are_read_as_python_reads_them(asked, start, tmp_path):
    pairs = list(itertools.product(range(len(NOTES)), repeat=2))
    roles = ("student", "teacher")
    for pair in pairs:
        folder = tmp_path / f"run-{pair[0]}-{pair[1]}" / "ctl" / "exit"
        folder.mkdir(parents=True)
        for role, number in zip(roles, pair, strict=True):
            if NOTES[number]:
                (folder / f"{role}.json").write_text(json.dumps({**NOTES[number], "attempt": 0}))
    loop = f"for run in run-*; do read_notes {int(asked)} >> said-{int(asked)}; echo $run $?; done"
    assert start("", command=loop, roles=" ".join(roles)).wait(30) == 0
    found = dict(line.split() for line in lines(tmp_path / "said"))
    assert len(found) == len(pairs)
    for name, code in found.items():
        endings = read_endings(RunDir(tmp_path / name), roles, asked)
        assert int(code) == worst(endings.values()).code, name
