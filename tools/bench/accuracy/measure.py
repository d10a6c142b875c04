"""What a finished run's detector does on held-out frames, on its own labels and on video; one line of JSON.

python -m tools.bench.accuracy.measure RUN --test SHARDS --train SHARDS [--video SHARDS]
"""

import argparse
import json
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tsal_dist.config import RunConfig

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
    from tsal_dist.inference.trained import load_trained, pick_device
    from tsal_dist.run import load_run
    from tsal_dist.runs.build import build_evaluator

    config, device = load_run(args.run).config, pick_device()
    student = load_trained(args.run, "student", "last").model.to(device)
    evaluator = build_evaluator(config, open_shards([args.test]), device)
    test = evaluator.run(student)
    train = build_evaluator(config, open_shards([args.train]), device, MOST_TRAIN_FRAMES).run(student)
    jitter = shake(student, config, args.video, device) if args.video else test.jitter.mean
    teacher = None
    if config.has_teacher:
        teacher = evaluator.run(load_trained(args.run, "teacher", "last").model.to(device)).errors.nme
    found = {"test": test.errors.nme, "train": train.errors.nme, "jitter": jitter, "teacher": teacher}
    print(json.dumps(found, allow_nan=False))
    return 0


def shake(model: "nn.Module", config: "RunConfig", url: str, device: "torch.device") -> float:
    """Jitter on the frames of a video, as a share of the box's size: without truth there is no other length."""
    import numpy as np

    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.data.stream import ClipStream
    from tsal_dist.geometry import affine
    from tsal_dist.inference.evaluation import predict
    from tsal_dist.metrics.jitter import Jitter
    from tsal_dist.models.detectors import stride_of

    jitter = Jitter()
    view = ViewSettings(
        config.model.crop_px, config.data.box_expand, labels=False, points=config.model.num_points
    )
    with ClipStream(
        open_shards([url]), view, select="all", batch=BATCH, rank=0, world=1, seed=0, shuffle=False, epochs=1
    ) as stream:
        for batch in stream:
            clips = [clip for clip in batch if not clip.pad]
            found_NK2 = predict(model, clips, stride_of(model), config.model.decode_radius, device)
            source_NK2 = np.stack(
                [
                    affine.apply(affine.invert(clip.to_crop_23), points)
                    for clip, points in zip(clips, found_NK2, strict=True)
                ]
            )
            box_N4 = np.stack([clip.box_4 for clip in clips]).astype(np.float64)
            length_N = np.sqrt((box_N4[:, 2] - box_N4[:, 0]) * (box_N4[:, 3] - box_N4[:, 1]))
            for video in dict.fromkeys(clip.video for clip in clips):
                same = [place for place, clip in enumerate(clips) if clip.video == video]
                jitter.add(source_NK2[same], length_N[same])
    return jitter.mean


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
