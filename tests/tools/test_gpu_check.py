"""The check of a GPU, on a CPU: every part runs and says what it found; one that breaks ends no other."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import gpu_check

ROOT = Path(__file__).parents[2]
SMALL = ["--device", "cpu", "--small"]


def check(*words):
    return subprocess.run(
        [sys.executable, "-m", "tools.gpu_check", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path):
    page = tmp_path / "found.md"
    done = check(*SMALL, "--to", str(page))
    assert done.returncode == 0, done.stderr
    table = page.read_text()
    assert table.splitlines()[0] == "| part | what | found | aim |"
    assert {line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]} == set(gpu_check.PARTS)
    assert "FAILED" not in table
    assert "not measured on a GPU" in table


def test_parity_holds_where_both_sides_are_the_cpu():
    args = gpu_check.build_parser().parse_args(SMALL)
    args.detectors, args.crop = ["lite"], 64
    rows = {row.what: row.value for row in gpu_check.parity(args)}
    assert float(rows["lite, float32: offsets, farthest"].split()[0]) < 1e-3
    assert float(rows["lite, bfloat16: offsets, farthest"].split()[0]) < 0.05
    (views,) = (what for what in rows if what.startswith("views of"))
    assert float(rows[views].split()[0]) < 0.5
    assert int(views.split()[4]) > 0, "some are left raw, or nothing was compared"


@pytest.mark.slow
def test_a_part_that_breaks_is_a_row_and_an_exit_code():
    done = check("--device", "meta", "--small", "--parts", "labelling", "machine")
    assert done.returncode == 1
    assert "| labelling | the part | FAILED:" in done.stdout
    assert "| machine | cores |" in done.stdout


def test_what_there_was_no_time_for_says_so():
    rows, fine = gpu_check.run_part("parity", SMALL, 0.0)
    assert fine
    assert rows == [gpu_check.Row("parity", "the part", "not measured: the time was up")]
