"""The Slurm job of a sweep: where its head is found, and who puts it back into the queue. Every program is a stand-in."""

import os
import signal
import subprocess
import time

import pytest

from tests.launch.conftest import ROOT

PROGRAMS = {
    "scontrol": 'case $1 in show) printf "n1\\nn2\\n";; *) echo "$@" >> scontrol.log;; esac',
    "scancel": ":",
    "timeout": "exit 0",  # the head answers
    "srun": 'echo "$@" >> srun.log; sleep 1',
    "getent": "cat names",
    "hostname": "echo 10.0.0.9 172.17.0.1",
    # launch.sweep saves and leaves when it is asked to.
    "python": 'echo "$@" >> sweep.log; trap "exit 75" TERM; while [[ -e long ]]; do sleep 0.05; done',
}


@pytest.fixture
def start(tmp_path):
    for name, does in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    jobs = []

    def start(names="127.0.1.1 STREAM n1\n10.0.0.5 STREAM n1\n"):
        (tmp_path / "names").write_text(names)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python")}
        environment |= {"SLURM_JOB_ID": "6007", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "8"}
        jobs.append(
            subprocess.Popen(
                ["bash", ROOT / "launch/slurm/sweep.sbatch", "--sweep", "x.toml"],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.wait()


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ("127.0.1.1 STREAM n1\n10.0.0.5 STREAM n1\n", "10.0.0.5"),
        ("127.0.1.1 STREAM n1\n", "10.0.0.9"),
        ("", "10.0.0.9"),
    ],
)
def test_the_head_has_an_address_that_others_reach_and_ports_of_its_own(names, address, start, tmp_path):
    assert start(names).wait(20) == 0
    head, worker = sorted((tmp_path / "srun.log").read_text().splitlines(), key=lambda line: "n2" in line)
    for word in (f"--node-ip-address={address}", "--port=20007", "--ray-client-server-port=26007"):
        assert word in head.split()
    assert f"--address={address}:20007" in worker.split()
    for line in (head, worker):
        assert 'rm -rf "$0"' in line, "Ray makes the head's folder on every machine"
    assert (
        f"--address {address}:20007 --wait-s 300 --resume --sweep x.toml"
        in (tmp_path / "sweep.log").read_text()
    )


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, "requeue 6007\n"), (signal.SIGTERM, None)])
def test_only_a_warned_sweep_comes_back(number, requeued, start, tmp_path):
    (tmp_path / "long").touch()
    job = start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "sweep.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    job.send_signal(number)
    assert job.wait(20) == 75
    log = tmp_path / "scontrol.log"
    assert (log.read_text() if log.exists() else None) == requeued
