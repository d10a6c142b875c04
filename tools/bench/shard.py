"""Packing videos, measured against bare decoding and encoding of the same files in the same run.

    python -m tools.bench.shard
    python -m tools.bench.shard --quick

pack       one process: plan, decode, JPEG, tar, index, frame table, checksums, fsync, manifest
           against VideoCapture.read + imencode into nothing
workers    two processes, started for this, on six times as many frames, against one that is kept to one core: left to
           itself it decodes on another one

Prints a line for each and one of JSON.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tsal_dist.cli import run_entry

CLIPS, COPIES, SHARDS = 4, 6, 4
PACKED = "packed"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--frames", type=int, default=3200, metavar="N", help=f"frames in {CLIPS} videos (default: 3200)")
    add("--width", type=int, default=640, metavar="PX", help="of a frame (default: 640)")
    add("--height", type=int, default=360, metavar="PX", help="of a frame (default: 360)")
    add("--rounds", type=int, default=7, metavar="N", help="rounds of each pair (default: 7)")
    add("--quick", action="store_true", help="two short rounds: does it run?")
    add("--folder", type=Path, metavar="DIR", help="where it is packed (default: a temporary folder)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    from tools.bench.paired_benchmark import compare_in_turns, json_line

    frames, rounds = (20, 2) if args.quick else (args.frames, args.rounds)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        few = [
            make_video(folder / f"few/{n}.mp4", frames // CLIPS, args.width, args.height, n)
            for n in range(CLIPS)
        ]
        many = [copy(video, folder / f"many/{n}-{video.name}") for n in range(COPIES) for video in few]
        shard_frames = max(1, frames // SHARDS)

        def tidy() -> None:
            shutil.rmtree(folder / PACKED, ignore_errors=True)

        results = []
        for label, aim, ours, baseline in [
            ("pack", 0.95, packing(few, folder, 1, shard_frames), bare(few)),
            (
                "workers",
                1.8,
                packing(many, folder, 2, shard_frames),
                on_one_core(packing(many, folder, 1, shard_frames)),
            ),
        ]:
            results.append(compare_in_turns(label, aim, ours, baseline, rounds, tidy))
            print(results[-1].line(), flush=True)
    print(json_line(results, frames=frames, copies=COPIES, width=args.width, height=args.height))
    return 0


def make_video(path: Path, frames: int, width: int, height: int, seed: int) -> Path:
    """A camera that pans over a textured ground with some noise, as MPEG-4."""
    import cv2
    import numpy as np

    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 8, width // 8 * 2, 3), np.uint8)
    ground = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = rng.integers(-3, 4, (height, width, 3), np.int16)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for number in range(frames):
        left = number % width
        picture = ground[:, left : left + width] + np.roll(noise, 7 * number, axis=1)
        writer.write(np.clip(picture, 0, 255).astype(np.uint8))
    writer.release()
    return path


def copy(video: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    os.link(video, path)
    return path


def packing(videos: list[Path], folder: Path, workers: int, shard_frames: int) -> Callable[[], int]:
    from tsal_dist.pack.execute import pack
    from tsal_dist.pack.gather import gather_inputs
    from tsal_dist.pack.packing_plan import PackOptions, build_plan
    from tsal_dist.pack.video_facts import probe

    def run() -> int:
        inputs = gather_inputs(videos=videos)
        options = PackOptions("train", box="full", shard_frames=shard_frames)
        plan = build_plan(inputs, [probe(one) for one in inputs], options)
        return pack(plan, f"{folder}/{PACKED}/train", workers=workers).manifest.frames

    return run


def on_one_core(work: Callable[[], int]) -> Callable[[], int]:
    """The same work by this thread's core alone, and by those of the threads that it starts; where a system can."""

    def run() -> int:
        if not hasattr(os, "sched_setaffinity"):
            return work()
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            return work()
        finally:
            os.sched_setaffinity(0, cores)

    return run


def bare(videos: list[Path]) -> Callable[[], int]:
    import cv2

    def run() -> int:
        frames = 0
        for path in videos:
            video = cv2.VideoCapture(str(path))
            while True:
                found, image = video.read()
                if not found:
                    break
                cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
                frames += 1
            video.release()
        return frames

    return run


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
