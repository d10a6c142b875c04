"""From labels and videos to a small subject that is followed: `tsal boxes`, pack, train, predict; a flag that crosses a picture.

What it is compared with are the same labels, learnt and predicted on whole pictures.
"""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.boxes.shown import draw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # trains three nets

SIZE, FLAG_PX, FRAMES, TRAIN, TEST = (384, 288), 26, 24, 12, 5
BRIEF = (
    "method.name=supervised",
    "model.detector=lite",
    "model.crop_px=64",
    "data.workers=0",
    "train.steps=250",
    "train.burn_in_steps=250",
    "train.optim.lr=2e-3",
    "train.labelled_batch=8",
    "train.optim.warmup_steps=20",
    "runtime.topology=inline",
    "runtime.log.evaluate_every=250",
    "runtime.checkpoint.every=250",
)


def tsal(*words, cwd):
    command = [sys.executable, "-m", "tsal_dist", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def path_of(number):
    """The box in each frame; in every second video the flag is gone for half of the time."""
    random = np.random.default_rng([7, number])
    room = np.array(SIZE) - FLAG_PX - 2
    start_2 = random.integers(1, room, 2)
    end_2 = np.clip(start_2 + random.integers(-60, 61, 2), 1, room)
    gone = range(0) if number % 2 else range(FRAMES // 2) if number % 4 else range(FRAMES // 2, FRAMES)
    boxes = []
    for t in range(FRAMES):
        corner_2 = np.rint(start_2 + (end_2 - start_2) * t / FRAMES)
        boxes.append(None if t in gone else np.concatenate([corner_2, corner_2 + FLAG_PX]))
    return boxes


def points_of(box_4):
    """Corners and middle."""
    x1, y1, x2, y2 = box_4
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [(x1 + x2) / 2, (y1 + y2) / 2]])


def write_video(path, boxes, seed):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, SIZE)
    for box_4 in boxes:
        writer.write(draw([] if box_4 is None else [box_4], seed, SIZE))
    writer.release()


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Videos with labels in every third frame, and others with what is in them."""
    folder = tmp_path_factory.mktemp("small")
    for part in ("videos", "test"):
        (folder / part).mkdir()
    lines = ["path,frame," + ",".join(f"p{k}x,p{k}y" for k in range(5))]
    for number in range(TRAIN):
        boxes = path_of(number)
        write_video(folder / "videos" / f"{number}.avi", boxes, number)
        for t in range(0, FRAMES, 3):
            marks = [""] * 10 if boxes[t] is None else points_of(boxes[t]).ravel().tolist()
            lines.append(",".join(map(str, [f"{number}.avi", t + 1, *marks])))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    others = {f"{number}.avi": path_of(number) for number in range(100, 100 + TEST)}
    for number in range(100, 100 + TEST):
        write_video(folder / "test" / f"{number}.avi", others[f"{number}.avi"], number)
    return folder, others


def landmarks(folder, name, *boxes):
    """Pack and train."""
    tsal("pack", "--videos", "videos", "--labels", "labels.csv", *boxes, "--out", name, cwd=folder)
    data = [f"data.labelled={name}/train", f"data.unlabelled={name}/train", f"data.validation={name}/val"]
    tsal("train", *BRIEF, *data, f"run.dir=runs/{name}", cwd=folder)


def predictions(folder, name, *how):
    """What predict says of the other videos, by video and frame: the points, or None for nobody."""
    words = ["--run", f"runs/{name}", "--video", "test", "--table", f"{name}.csv", "--threads", "1"]
    tsal("predict", *words, *how, cwd=folder)
    with open(folder / f"{name}.csv", newline="") as file:
        return {(Path(row["path"]).name, int(row["frame"]) - 1): places(row) for row in csv.DictReader(file)}


def places(row):
    if row["found"] != "1":
        return None
    return np.array([[float(row[f"p{k}{axis}"]) for axis in "xy"] for k in range(5)])


def followed(found, others):
    """The share of frames with the flag whose points are found, a fifth of its side off at most; and the share of frames
    without it that say so."""
    hits, said = [], []
    for name, boxes in others.items():
        for frame, box_4 in enumerate(boxes):
            points_K2 = found[name, frame]
            if box_4 is None:
                said.append(points_K2 is None)
            elif points_K2 is None:
                hits.append(False)
            else:
                off_px = np.linalg.norm(points_K2 - points_of(box_4), axis=1).mean()
                hits.append(off_px < FLAG_PX / 5)
    return float(np.mean(hits)), float(np.mean(said))


def test_a_small_subject_is_followed_that_whole_pictures_miss(desk):
    folder, others = desk
    how = ["--detector", "lite", "--steps", 250, "--side", 160]
    tsal("boxes", "--videos", "videos", "--labels", "labels.csv", "--out", "b.safetensors", *how, cwd=folder)
    box = ("--box-model", "b.safetensors")
    landmarks(folder, "boxed", *box)
    with_boxes, said_none = followed(predictions(folder, "boxed", *box), others)
    landmarks(folder, "whole")
    without, _ = followed(predictions(folder, "whole"), others)
    assert with_boxes > 0.9, (with_boxes, without)
    assert without < with_boxes / 2, (with_boxes, without)
    assert said_none >= 0.95
