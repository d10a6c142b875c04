"""How well a box net finds small people who cross a wide picture, in places and of people that it has not seen.

    python -m tools.bench.boxes
    python -m tools.bench.boxes --detector lite --steps 1000

Twelve videos of 40 frames are labelled in every fifth frame and ten others are looked through whole, frame by frame; half of
all have two people. A person is found where a box covers her landmarks' (intersection over union of .5 or more). Time is the
processor time of one thread, the median.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.bench.scenes import Scene, make_scene, write_labels, write_scene
from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from tsal_dist.pack.boxes import Detector

TRAIN_SEED, TEST_SEED = 1, 2
EVERY = 5


@dataclass
class Count:
    """What was found in all frames looked through."""

    people: int = 0
    found: int = 0
    wrong: int = 0
    """Boxes that cover nobody whom no better box covers."""
    empty: int = 0
    """Frames without anybody."""
    alarms: int = 0
    """Of these with a box."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--detector", default="lite0", metavar="NAME", help="the net (lite0)")
    add("--steps", type=int, default=300, metavar="N", help="that it learns for (300)")
    add("--train", type=int, default=12, metavar="N", help="labelled videos (12)")
    add("--test", type=int, default=10, metavar="N", help="other videos (10)")
    add("--seed", type=int, default=0, metavar="K", help="of the training (0)")
    args = parser.parse_args(argv)

    from tsal_dist.pack.subject_models import load_detector

    with tempfile.TemporaryDirectory(prefix="boxes-bench-") as folder:
        model = train(Path(folder), args.train, args.detector, args.steps, args.seed)
        detect = load_detector(str(model))
        count, times_s = Count(), []
        for number in range(args.test):
            times_s += look_through(make_scene(TEST_SEED, number, people=1 + number % 2), detect, count)
    print(
        f"{args.detector}, {args.steps} steps, seed {args.seed}: found {count.found} of {count.people} people "
        f"({100 * count.found / count.people:.1f} %), {count.wrong} boxes of nobody; a box in {count.alarms} of {count.empty} "
        f"frames without anybody; {1000 * float(np.median(times_s)):.1f} ms per frame"
    )
    return 0


def train(folder: Path, videos: int, detector: str, steps: int, seed: int) -> Path:
    """A box model by the command itself."""
    (folder / "videos").mkdir()
    scenes = {
        f"{number:02}.avi": make_scene(TRAIN_SEED, number, people=1 + number % 2) for number in range(videos)
    }
    for name, scene in scenes.items():
        write_scene(folder / "videos" / name, scene)
    write_labels(folder / "labels.csv", scenes, EVERY, range(68))
    model = folder / "boxes.safetensors"
    command = [sys.executable, "-m", "tsal_dist", "boxes", "--videos", str(folder / "videos"), "--labels"]
    command += [str(folder / "labels.csv"), "--out", str(model), "--detector", detector]
    subprocess.run([*command, "--steps", str(steps), "--seed", str(seed)], check=True)
    return model


def look_through(scene: Scene, detect: "Detector", count: Count) -> list[float]:
    """Every frame; the seconds that each took."""
    from tsal_dist.boxes.judging import which_fit

    times_s = []
    for t, frame_HWC in enumerate(scene.frames_THWC):
        start_s = time.process_time()
        found_N5 = detect(frame_HWC)
        times_s.append(time.process_time() - start_s)
        boxes_B4 = scene.boxes(t)
        hits = sum(which_fit(found_N5[:, :4].astype(np.float64), boxes_B4))
        count.people += len(boxes_B4)
        count.found += hits
        count.wrong += len(found_N5) - hits
        count.empty += not len(boxes_B4)
        count.alarms += not len(boxes_B4) and len(found_N5) > 0
    return times_s


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
