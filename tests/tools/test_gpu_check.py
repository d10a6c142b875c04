"""The check of a GPU, on a CPU: every part runs and says what it found; one that breaks ends no other."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tools import gpu_check
from tools.gpu import real_steps

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


def test_what_was_found_before_the_time_was_up_is_kept(monkeypatch):
    def late(words, timeout, **how):
        raise subprocess.TimeoutExpired(words, timeout, b'["steps", "tsal", "0"]\n["steps", "cal')

    monkeypatch.setattr(subprocess, "run", late)
    rows, fine = gpu_check.run_part("steps", SMALL, 9.0)
    assert not fine
    assert [row.value for row in rows] == ["0", "not measured: it took more than 9 s"]


def test_waits_are_told_by_the_lines_that_asked(monkeypatch):
    """As on a GPU, whose words are torch's; what takes the steps is a run's own student."""
    student = real_steps.build_student("multiaugs", {}, torch.device("cpu"))
    taken = []
    whole = real_steps.take_step

    def asks(student):
        whole(student)
        taken.append(student.step_number)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    monkeypatch.setattr(real_steps, "take_step", asks)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waits = real_steps.find_waits(student, on_gpu=True)
    assert waits.total() == real_steps.LOOKED_AT
    assert next(iter(waits)).startswith("test_gpu_check.py:")
    assert taken == list(range(1, real_steps.SETTLING + 2 * real_steps.LOOKED_AT + 1))
    assert not student.numbers_due, "a line of metrics may ask"


def test_what_there_was_no_time_for_says_so():
    rows, fine = gpu_check.run_part("parity", SMALL, 0.0)
    assert fine
    assert rows == [gpu_check.Row("parity", "the part", "not measured: the time was up")]
