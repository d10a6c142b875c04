import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*words):
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_short_round_gives_every_ratio():
    code, output, errors = run("-m", "tools.bench.step", "--quick", "--crop", "64", "--batch", "4")
    assert code == 0, errors
    page = json.loads(output.splitlines()[-1])
    assert [each["name"] for each in page["results"]] == ["recipe", "both", "student"]
    assert all(each["ratio"] > 0 for each in page["results"])
    assert page["settings"]["device"] == "cpu"


def test_a_crop_that_no_eighth_fits_is_refused():
    code, _, errors = run("-m", "tools.bench.step", "--crop", "100")
    assert code == 2
    assert "--crop is 100" in errors


@pytest.mark.slow
def test_no_help_imports_torch():
    code, output, errors = run("-m", "tools.bench.start", "--quick")
    assert code == 0, errors
    found = json.loads(output.splitlines()[-1])["results"]
    assert {"tsal_dist.train --help", "tools.shard_videos --help"} <= {each["name"] for each in found}
    assert [each["name"] for each in found if each["imports_torch"]] == []
