"""The bench of sweeps runs; what it says is for people, and not for a busy test machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_quick_bench_of_sweeps_ends_with_a_line_of_json():
    command = [sys.executable, "-m", "tools.bench.sweep", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=290)
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout.splitlines()[-1])
    (trial,) = page["results"]
    assert trial["ratio"] > 0
    assert page["settings"]["overhead_s"] > 0
