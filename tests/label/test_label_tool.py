"""tools/label.py as a user starts and ends it."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.pack.footage import make_video
from tests.pack.packing import pack_all
from tools.label import pack_words
from tsal_dist.config import RunConfig
from tsal_dist.config.load import override

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shards(tmp_path):
    make_video(tmp_path / "videos" / "clip.avi", frames=6)
    return pack_all(tmp_path / "shards", [tmp_path / "videos"], split="clips", box="full").manifest.url


def start(*words):
    command = [sys.executable, "tools/label.py", *map(str, words), "--no-browser"]
    # A shell that starts tests in the background has them ignore Ctrl-C, and they would hand that on.
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_from_nothing_to_a_table(shards, tmp_path):
    table = tmp_path / "labels.csv"
    tool = start("--shards", shards, "--names", "nose", "tail", "--frames", 3, "--out", table)
    try:
        url = re.search(r"label 3 frames at (http://127\.0\.0\.1:\d+/\S+/)", tool.stdout.readline())[1]
        with urllib.request.urlopen(f"{url}tasks.json", timeout=30) as answer:
            assert json.load(answer)["names"] == ["nose", "tail"]
        page = json.dumps({"frame": 1, "marks": [[5, 6, 1], [7, 8, 2]]}).encode()
        request = urllib.request.Request(f"{url}save", page, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["kept"] == 1
        tool.send_signal(signal.SIGINT)
        said, complaints = tool.communicate(timeout=30)
    finally:
        tool.kill()
        tool.wait()
    assert tool.returncode == 0, complaints
    assert f"--labels {table}" in said, "what to do with it"
    assert "Traceback" not in complaints
    assert table.read_text().splitlines()[1].startswith("clip.avi,3,")


def test_the_table_goes_beside_the_labels_of_the_run_and_leaves_its_held_out_footage():
    said = pack_words(override(RunConfig(), "data.validation=shards/mine/val"), Path("l.csv"))
    assert "--labels LABELS l.csv --validation-of shards/mine/val --out shards/more" in said
    assert "--labels LABELS l.csv --out" in pack_words(
        override(RunConfig(), "data.validation=[]"), Path("l.csv")
    )


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([], "Name a run, or --shards"),
        (["--shards", "SHARDS", "--out", "l.csv"], "need names"),
        (["--shards", "SHARDS", "--out", "l.csv", "--names", "a", "a"], "need names"),
        (["--frames", "0"], "--frames is 0"),
    ],
)
def test_what_is_missing_is_said(shards, tmp_path, words, rule):
    tool = start(
        *[shards if word == "SHARDS" else tmp_path / word if word == "l.csv" else word for word in words]
    )
    _, complaints = tool.communicate(timeout=60)
    assert tool.returncode == 2
    assert rule in complaints
    assert complaints.count("\n") == 1
