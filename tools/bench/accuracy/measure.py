"""What a finished run's detector does on held-out frames, on its own labels and on video; one line of JSON.

python -m tools.bench.accuracy.measure RUN --test SHARDS --train SHARDS [--video SHARDS]
"""

import argparse
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.json_object import if_finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tsal_dist.inference.evaluation import Evaluator

MOST_TRAIN_FRAMES = 256
BATCH = 32


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run")
    parser.add_argument("--test", required=True, help="held-out labelled shards")
    parser.add_argument("--train", required=True, help="the labelled shards it was trained on")
    parser.add_argument("--video", default="", help="shards of a video without labels, for jitter")
    args = parser.parse_args(argv)

    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.inference.decoding import Decoding
    from tsal_dist.inference.evaluation import build_evaluator
    from tsal_dist.inference.trained import OtherNet, load_trained, pick_device
    from tsal_dist.run import load_run
    from tsal_dist.runs.labelled_points import learn_fitting_of

    config, device = load_run(args.run).config, pick_device()
    student = load_trained(args.run, "student", "last").model.to(device)
    evaluator = build_evaluator(config, open_shards([args.test]), device)
    test = evaluator.run(student)
    reading = Decoding(companions=True, fitting=learn_fitting_of(Path(args.run), config))
    fitted = replace(evaluator, decoding=reading).run(student)
    train = build_evaluator(config, open_shards([args.train]), device, MOST_TRAIN_FRAMES).run(student)
    jitter = shake(evaluator, student, args.video) if args.video else test.jitter.mean
    teacher = None
    with suppress(OtherNet):  # one that was brought along has nothing to learn here
        if config.has_teacher:
            teacher = evaluator.run(load_trained(args.run, "teacher", "last").model.to(device)).errors.nme
    found = {
        "test": test.errors.nme,
        "fitted": fitted.errors.nme,
        "train": train.errors.nme,
        "jitter": if_finite(jitter),
        "teacher": teacher,
    }
    print(json.dumps(found, allow_nan=False))
    return 0


def shake(evaluator: "Evaluator", model: "nn.Module", url: str) -> float:
    """The usual jitter on the frames of videos without labels, as a share of the box's size."""
    import numpy as np

    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.once import read_all
    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.geometry import affine
    from tsal_dist.inference.evaluation import to_device

    view = ViewSettings(evaluator.crop_px, evaluator.expand, labels=False, points=evaluator.shards.points)
    tracks: dict[str, list[NDArray[np.float64]]] = {}
    for clips in read_all(open_shards([url]), view, "all", BATCH):
        found_NK2, _ = evaluator.find(model, to_device(clips, evaluator.device))
        for clip, points_K2 in zip(clips, found_NK2, strict=True):
            x1, y1, x2, y2 = (float(edge) for edge in clip.box_4)
            source_K2 = affine.apply(affine.invert(clip.to_crop_23), points_K2)
            tracks.setdefault(clip.video, []).append(source_K2 / ((x2 - x1) * (y2 - y1)) ** 0.5)
    return usual_bend([np.stack(track) for track in tracks.values()])


def usual_bend(tracks: "list[NDArray[np.float64]]") -> float:
    """Median over frames and landmarks of |x(t+1) - 2 x(t) + x(t-1)|; each track is T x K x 2 of neighbouring frames.

    Not the mean: without labels nobody knows which landmarks are in view, and one that is not jumps anywhere.
    """
    import numpy as np

    bends = [np.linalg.norm(track[2:] - 2 * track[1:-1] + track[:-2], axis=-1).ravel() for track in tracks]
    return float(np.median(np.concatenate(bends)))


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
