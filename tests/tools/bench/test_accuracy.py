"""The accuracy bench: its arithmetic by hand, and the whole of it once, tiny; then again, from what it kept."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.roles.short_runs import OVERRIDES
from tools.bench.accuracy import Cell, list_cells, mean_and_error, summarise

ROOT = Path(__file__).parents[3]


def bench(folder, *argv):
    return subprocess.run(
        [sys.executable, "-m", "tools.bench.accuracy", f"--folder={folder}", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_mean_and_standard_error_by_hand():
    assert mean_and_error([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1 / math.sqrt(3)))
    mean, error = mean_and_error([5.0])
    assert mean == 5.0
    assert math.isnan(error)


def test_the_gap_is_between_the_baselines():
    """From .10 at few labels to .06 at all of them: .08 closes a half, .12 opens another."""
    nme = {
        ("supervised", 0.05): 0.10,
        ("supervised", 1.0): 0.06,
        ("tsal", 0.05): 0.08,
        ("mean_teacher", 0.05): 0.12,
    }
    cells = [Cell(method, share, seed, ()) for seed in range(2) for method, share in nme]
    results = {
        cell.name: {"nme": nme[cell.method, cell.share] + 0.01 * (cell.seed - 0.5), "jitter": 0.01}
        for cell in cells
    }
    rows = {(row.method, row.share): row for row in summarise(cells, results)}
    assert rows["tsal", 0.05].gap_closed == pytest.approx(0.5)
    assert rows["mean_teacher", 0.05].gap_closed == pytest.approx(-0.5)
    assert math.isnan(rows["supervised", 0.05].gap_closed)
    assert rows["tsal", 0.05].nme_error == pytest.approx(0.005)


def test_all_shares_are_of_the_same_videos_and_seeds():
    from tools.bench.accuracy import build_parser

    argv = ["--seeds", "2", "--variant", "calm: method.keep=0.9", "model.crop_px=64"]
    cells = list_cells(build_parser().parse_intermixed_args(argv), Path("data"))
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 2 * (1 + 2 + 2)
    assert all("model.crop_px=64" in cell.words for cell in cells)
    calm = [cell for cell in cells if "method.keep=0.9" in cell.words]
    assert {cell.method for cell in calm} == {"mean_teacher calm", "tsal calm"}


@pytest.mark.slow
def test_a_tiny_bench_runs_and_reads_back_what_it_has(tmp_path):
    tiny = [*OVERRIDES, "train.burn_in_steps=2", "runtime.checkpoint.every=3"]
    tiny = [word for word in tiny if not word.startswith(("train.steps", "runtime.topology"))]
    argv = ["--recipes", "supervised", "tsal", "--shares", "0.5", "1", "--seeds", "1", "--steps", "3"]
    argv += ["--videos", "5", "--frames", "6", "--size", "64", *tiny]
    first = bench(tmp_path, *argv)
    assert first.returncode == 0, first.stderr
    record = json.loads(first.stdout.splitlines()[-1])
    assert [(row["method"], row["share"]) for row in record["results"]] == [
        ("supervised", 0.5), ("tsal", 0.5), ("supervised", 1.0), ("tsal", 1.0),
    ]  # fmt: skip
    assert all(0 < row["nme"] < 10 for row in record["results"])
    assert record["results"][1]["teacher_nme"] is not None
    assert record["system"]["commit"]

    # One cell was lost on the way: only it is trained again, and to the same number.
    kept = tmp_path / "tsal_0.5_0.json"
    before = kept.read_text()
    kept.unlink()
    others = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(others) == 3
    time.sleep(0.01)
    again = bench(tmp_path, *argv)
    assert json.loads(again.stdout.splitlines()[-1])["results"] == record["results"]
    assert kept.read_text() == before
    assert {path: path.stat().st_mtime_ns for path in others} == others

    other = bench(tmp_path, *argv, "train.optim.lr=0.5")
    assert other.returncode == 2
    assert "measured with other settings" in other.stderr
