"""`make demo`, whole, on little data and for a few steps: every command in it runs and leaves what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_runs_from_videos_to_report(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "tools", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    # The venv of this very interpreter, whatever it is called; make must not begin to install.
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    words = [
        "make",
        "demo",
        "--assume-old=.venv/.ready",
        "DEMO_DATA=--videos 8 --frames 8 --size 64 --seed 1 --labelled 1",
        "DEMO_LABELS=--labelled 0.3 --labelled-by video",
        "DEMO_ARGS=train.steps=20 train.burn_in_steps=8 train.labelled_batch=4 train.unlabelled_batch=4 "
        "model.crop_px=32 runtime.weights.publish_every=4 runtime.checkpoint.every=10 runtime.log.evaluate_every=10 "
        "runtime.queue.segment_rows=8",
    ]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=280, env=os.environ.copy()
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert "Warning" not in said
    report = tmp_path / "runs/demo/report"
    assert (report / "index.html").stat().st_size > 10_000
    assert (report / "overlay.mp4").stat().st_size > 0
    assert (report / "landmarks.csv").read_text().startswith('"path","frame"')
    models = json.loads((report / "numbers.json").read_text())["models"]
    assert {name.split(" step")[0] for name in models} == {
        "demo-supervised student",
        "demo student",
        "demo teacher",
    }
    assert "runs/demo/report/index.html" in done.stdout
