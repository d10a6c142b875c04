"""The soak runs from a clean clone: short here, longer where somebody has the time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.marks import against_the_clock

ROOT = Path(__file__).parents[3]


def soak(*argv, code, limit_s=600):
    done = subprocess.run(
        [sys.executable, "-m", "tools.soak", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    _, said = soak("--run", str(tmp_path), code=2)
    assert "is not empty" in said
    _, said = soak("--minutes", "0", code=2)
    assert "above 0" in said


@against_the_clock
@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_short_soak_hurts_and_closes_its_books(tmp_path):
    said, _ = soak("--minutes", "1.2", "--seed", "3", "--run", str(tmp_path / "soak"), code=0)
    numbers = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert numbers["violations"] == []
    assert sum(numbers["injuries"].values()) >= 2
    assert numbers["rows"]["delivered"] > 0
    assert numbers["steps"] > 0
    assert "no violation" in said
    assert "killed, and at work again after" in said
    assert (tmp_path / "soak" / "run" / "queue" / "labels" / "QUEUE.json").exists(), (
        "what the small disk held is kept"
    )
