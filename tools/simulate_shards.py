"""What very many frames cost a reader before it reads one: manifest, list of clips, order of an epoch. No frame exists.

    python tools/simulate_shards.py
    python tools/simulate_shards.py --frames 30000000 --shard-frames 20000 --video-frames 900

For every number of frames it writes the manifest that the packer would write, opens it as training does, lists the
clips, and shuffles the first window of an epoch, each in a process of its own. The last line goes on from the largest
of them in proportion: what is said of more frames than were measured is an extrapolation, and is marked with ~.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CLIP_FRAMES = 4
WINDOW = 32
BILLION = 1_000_000_000


@dataclass(frozen=True)
class Cost:
    """Of one number of frames."""

    frames: int
    shards: int
    manifest_mb: float
    open_s: float
    clips_s: float
    order_s: float
    memory_mb: float
    """What the process grew by at its largest."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--frames", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], metavar="N")
    add("--shard-frames", type=int, default=1_000, metavar="N", help="frames of a shard (default: 1000)")
    add("--video-frames", type=int, default=300, metavar="N", help="frames of a video (default: 300)")
    add("--json", action="store_true", help="one JSON document instead of a table")
    args = parser.parse_args(argv)
    if min(*args.frames, args.shard_frames, args.video_frames, 1) < 1:
        raise ConfigError("Numbers of frames must be at least 1.")
    costs = [_measure(frames, args.shard_frames, args.video_frames) for frames in sorted(args.frames)]
    more = _scaled(costs[-1], BILLION)
    if args.json:
        print(
            json.dumps({"measured": [asdict(cost) for cost in costs], "extrapolated": asdict(more)}, indent=1)
        )
        return 0
    print(
        f"{'frames':>15} {'shards':>8} {'manifest MB':>12} {'open s':>8} {'clips s':>8} {'order s':>8} {'memory MB':>10}"
    )
    for mark, cost in [*((" ", cost) for cost in costs), ("~", more)]:
        print(
            f"{mark}{cost.frames:14,} {cost.shards:8,} {cost.manifest_mb:12,.1f} {cost.open_s:8.2f} {cost.clips_s:8.2f} "
            f"{cost.order_s:8.3f} {cost.memory_mb:10,.0f}"
        )
    return 0


def _scaled(cost: Cost, frames: int) -> Cost:
    factor = frames / cost.frames
    return Cost(
        frames,
        round(cost.shards * factor),
        cost.manifest_mb * factor,
        cost.open_s * factor,
        cost.clips_s * factor,
        cost.order_s,  # one window, whatever the set
        cost.memory_mb * factor,
    )


def _measure(frames: int, shard_frames: int, video_frames: int) -> Cost:
    """In a process of its own, so that its memory is that of this number alone."""
    with tempfile.TemporaryDirectory() as folder:
        shards = _write(Path(folder), frames, shard_frames, video_frames)
        size = (Path(folder) / "manifest.json").stat().st_size
        here, there = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_read, args=(folder, there))
        child.start()
        open_s, clips_s, order_s, memory_mb = here.recv()
        child.join()
    return Cost(frames, shards, size / 1e6, open_s, clips_s, order_s, memory_mb)


def _write(folder: Path, frames: int, shard_frames: int, video_frames: int) -> int:
    from tsal_dist.shards.manifest import MANIFEST, Segment, Shard, build_manifest, encode_manifest

    found = []
    for number, first in enumerate(range(0, frames, shard_frames)):
        count = min(shard_frames, frames - first)
        segments = tuple(
            Segment(
                kind="video",
                video=f"videos/{number:06d}/{start:05d}.mp4",
                start=start,
                frames=min(video_frames, count - start),
                first_frame=0,
                frame_step=1,
                labelled="",
            )
            for start in range(0, count, video_frames)
        )
        found.append(
            Shard(
                name=f"train-{number:06d}", plan="0" * 64, frames=count, labelled=0, failed=0, tar_bytes=0,
                tar_sha256="0" * 64, idx_sha256="0" * 64, parquet_sha256="0" * 64, segments=segments,
            )
        )  # fmt: skip
    (folder / MANIFEST).write_bytes(encode_manifest(build_manifest("train", "0" * 64, "", 0, tuple(found))))
    return len(found)


def _read(folder: str, answer: "Connection") -> None:
    import numpy as np

    from tsal_dist.data.clips import build_clips
    from tsal_dist.data.order import EpochOrder
    from tsal_dist.data.shard_set import open_shards

    before = _peak_mb()
    start = time.perf_counter()
    shards = open_shards([folder])
    opened = time.perf_counter()
    clips = build_clips(shards, "unlabelled", CLIP_FRAMES)
    listed = time.perf_counter()
    order = EpochOrder(clips.clips_per_shard_S, clips.fingerprint, 0, 0, WINDOW)
    order.ids(np.arange(min(64, len(clips)), dtype=np.int64))
    ordered = time.perf_counter()
    answer.send((opened - start, listed - opened, ordered - listed, _peak_mb() - before))


def _peak_mb() -> float:
    """Of this process alone: what getrusage says is inherited from the parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
