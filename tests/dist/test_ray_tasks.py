"""Parts of a work on a Ray cluster: their results, their errors, and those whose process always dies."""

import pickle
import subprocess
import sys

import pytest

from tests.marks import against_the_clock
from tests.test_house import ROOT
from tsal_dist.errors import ConfigError, DataError, DiskFull, MissingExtra, TopologyError

WORK = """
import os, sys
from tsal_dist.dist import ray_tasks
from tsal_dist.dist.ray_cluster import join_ray
from tsal_dist.errors import DataError, MissingExtra

ray_tasks.RETRIES = 1

def work(folder, part):
    assert os.getcwd() == folder
    with open(f"tries-{part}", "a") as file:
        file.write("x")
    if part == "dies":
        os._exit(1)
    if part == "lacks":
        raise MissingExtra("there", "onnx", "A part")
    return part * 2

def told(parts):
    try:
        return sorted(ray_tasks.run_tasks(work, os.getcwd(), parts, cpus=1))
    except (DataError, MissingExtra) as error:
        return f"{type(error).__name__}: {error}"

with join_ray("local", "--ray", "This test"):
    print(told([1, 2, 3]))
    print(told(["lacks"]))
    print(told(["dies"]))
"""


@against_the_clock
@pytest.mark.slow
def test_results_errors_and_a_part_that_always_dies(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # Ray itself tells of each try that was lost.
    results, lacks, dies = (line for line in done.stdout.splitlines() if "(raylet)" not in line)
    assert results == "[2, 4, 6]"
    assert lacks.startswith("MissingExtra: A part needs the package 'there'")
    assert dies.startswith("DataError: A part was given up after 2 tries, most likely for want of memory: ")
    assert [(tmp_path / f"tries-{part}").read_text() for part in (1, "lacks", "dies")] == ["x", "x", "xx"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a"),
        TopologyError("b"),
        DataError("c"),
        DiskFull("d"),
        MissingExtra("ray", "ray", "Packing"),
    ],
)
def test_errors_cross_from_one_process_to_another(error):
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), other.exit_code) == (type(error), str(error), error.exit_code)
