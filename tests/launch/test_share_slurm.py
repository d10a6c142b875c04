"""Packing and predicting shared by the jobs of a real Slurm: the same bytes as without it."""

import os
import subprocess
import sys

import pytest

from tests.inference.squares import FLAG_PX, draw_flag, write_film
from tests.launch.conftest import ROOT
from tests.launch.slurm_cluster import SlurmCluster, missing_programs, wait_for
from tests.marks import against_the_clock
from tests.pack.footage import files_of, make_video
from tests.pack.packing import pack_all
from tsal_dist.inference.kept_rows import parts_folder
from tsal_dist.predict import main

pytestmark = [
    against_the_clock,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_programs()) or os.geteuid() != 0,
        reason=f"needs root and Debian's slurm-wlm and munge; missing: {missing_programs()}",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def share(cluster, tmp_path):
    """`share(*words)` submits from a folder of this test's own, and waits for the end; what the jobs said."""
    for name in ("launch", "tools", "tsal_dist"):
        (tmp_path / name).symlink_to(ROOT / name)

    def submit(machines, *words):
        command = [
            sys.executable,
            "-m",
            "launch.share",
            "slurm",
            "--machines",
            str(machines),
            "--cpus",
            "2",
            *words,
        ]
        environment = {**cluster.environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        end = done.stdout.partition("the end is job ")[2].partition(";")[0]
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        wait_for(lambda: cluster.show_job(end)["JobState"] in ended, f"job {end}", tmp_path / "none", 120)
        said = "".join(path.read_text() for path in sorted((tmp_path / "runs/shared").glob("*.log")))
        assert cluster.show_job(end)["JobState"] == "COMPLETED", said
        return said

    return submit


def test_an_array_of_machines_packs_and_one_more_job_commits(share, tmp_path):
    for number in range(4):
        make_video(tmp_path / "raw" / f"{number}.avi", 10, seed=number)
    said = share(2, "pack", "--videos", "raw", "--box", "full", "--shard-frames", "10", "--out", "many")
    assert "machine 1 of 2: its 2 of 4 shards are there" in said
    assert "machine 2 of 2: its 2 of 4 shards are there" in said
    pack_all(tmp_path / "one", [tmp_path / "raw"], box="full")
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_an_array_of_machines_predicts_and_one_more_job_writes_the_table(
    share, flag_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        middles = [(60 + t + 5 * number, 70) for t in range(8)]
        write_film(tmp_path / "raw" / f"{number}.avi", middles, lambda middle: draw_flag(middle, FLAG_PX))
    words = ["--model", str(flag_file), "--video", "raw", "--threads", "1", "--table"]
    said = share(2, "predict", *words, "many.parquet")
    assert said.count("of 2: 2 of its 2 inputs were looked at") == 2
    assert len(list(parts_folder(tmp_path / "many.parquet").iterdir())) == 4
    assert main([*words, "one.parquet"]) == 0
    assert (tmp_path / "many.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
