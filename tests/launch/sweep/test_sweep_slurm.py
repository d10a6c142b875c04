"""A sweep on a real two-machine Slurm: head and workers in one job, interrupted, put back, finished."""

import os
import subprocess
import sys

import pytest

from tests.launch.conftest import ROOT
from tests.launch.slurm_cluster import SlurmCluster, missing_programs, wait_for
from tests.launch.sweep.sweeping import SETTINGS, Sweep, assert_nothing_left, write_sweep
from tests.marks import against_the_clock

pytestmark = [
    against_the_clock,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(missing_programs()) or os.geteuid() != 0,
        reason=f"needs root and Debian's slurm-wlm and munge; missing: {missing_programs()}",
    ),
]


@pytest.fixture
def cluster(tmp_path):
    with SlurmCluster(tmp_path / "cluster") as cluster:
        yield cluster


def test_a_sweep_over_the_machines_of_a_job_is_interrupted_and_finishes(cluster, tmp_path):
    folder, log = tmp_path / "sweep", tmp_path / "slurm.log"
    text = f'[sweep]\ndir = "{folder}"\n[search]\nmethod = "grid"\n[place]\nprocs_per_node = 2\n'
    file = write_sweep(tmp_path / "tiny.toml", text, "train.optim.lr = { grid = [2e-3, 2e-2] }")
    # Two CPUs of a trial, two on each machine: both are needed for two trials at a time.
    done = subprocess.run(
        ["sbatch", "--parsable", "--nodes=2", "--cpus-per-task=2", f"--output={log}"]
        + ["launch/slurm/sweep.sbatch", "--config", "configs/demo.toml", "--sweep", str(file)]
        + ["--module", "tests.launch.stand_in", *SETTINGS, "train.steps=300"],
        cwd=ROOT,
        env={**cluster.environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    sweep = Sweep(folder, None)
    wait_for(lambda: sum(step >= 20 for step in sweep.steps()) == 2, "both trials", log, 180)
    cluster.call("scancel", "--batch", "--signal=USR1", job)

    def ended():
        return cluster.show_job(job).get("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")

    wait_for(ended, f"job {job}", log, 300)
    page = log.read_text()
    assert cluster.show_job(job)["JobState"] == "COMPLETED", page
    assert cluster.show_job(job)["Restarts"] == "1", page
    assert "asking every trial to save and leave" in page
    assert [trial["status"] for trial in sweep.trials()] == ["done", "done"]
    assert [start["start"] >= 20 for start in sweep.starts("student")].count(True) == 2
    assert_nothing_left(folder)
