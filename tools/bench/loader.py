"""Reading shards, measured against plain code on the same files in the same run.

    python -m tools.bench.loader
    python -m tools.bench.loader --quick

loader     shuffled frames of 256 px with their landmarks, whole and decoded, through the index
           against tarfile + imdecode + json from front to back
bytes      the same without decoding and checksums, against webdataset without decoding
checked    the same with the checksums that training always checks
train      a rotated, coloured, painted 256 px crop of a 720p frame, through a FrameReader
           against imdecode + resize(INTER_AREA) + crop, without any augmentation
workers    the train path through a ClipStream with two processes, against none (needs two free cores)

One thread each; both sides run under the launcher's allocator settings. Prints a line for each and one of JSON.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    import numpy as np

    from tsal_dist.data.shard_set import ShardSet
    from tsal_dist.shards.manifest import Shard

CROP_PX = 256


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--frames", type=int, default=600, metavar="N", help="frames in the shards of 256 px (default: 600)")
    add("--large-frames", type=int, default=120, metavar="N", help="frames of 720p (default: 120)")
    add("--rounds", type=int, default=9, metavar="N", help="rounds of each pair (default: 9)")
    add("--quick", action="store_true", help="two short rounds: does it run?")
    add("--folder", type=Path, metavar="DIR", help="where the shards are made (default: a temporary folder)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    import cv2

    from tools.bench.paired_benchmark import compare_in_turns, json_line
    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.dist.environment import child_environment, read_environment

    if not read_environment().malloc_tuned:
        # The allocator reads its settings at the start of a process; a launcher sets them for training.
        os.execve(sys.executable, [sys.executable, "-m", "tools.bench.loader", *argv], child_environment({}))
    cv2.setNumThreads(0)
    frames, large, rounds = (40, 10, 2) if args.quick else (args.frames, args.large_frames, args.rounds)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        small_url, large_url = f"{folder}/small", f"{folder}/large"
        make_shards(Path(small_url), frames, 256, 256)
        make_shards(Path(large_url), large, 1280, 720)
        small, big = open_shards([small_url]), open_shards([large_url])
        results = []
        for name, aim, ours, baseline in [
            ("loader", 1.0, indexed(small, "decode"), sequential(small_url)),
            ("bytes", 8.0, indexed(small, "bytes"), webdataset_bytes(small_url)),
            ("checked", 1.0, indexed(small, "checked"), webdataset_bytes(small_url)),
            ("train", 2.0, train_path(big), naive_path(large_url)),
            ("workers", 1.5, stream(big, 2), stream(big, 0)),
        ]:
            results.append(compare_in_turns(name, aim, ours, baseline, rounds))
            print(results[-1].line(), flush=True)
    print(json_line(results, frames=frames, large_frames=large))
    return 0


def make_shards(folder: Path, frames: int, width: int, height: int) -> None:
    """Four shards of textured frames, about 1.5 bits per pixel as video frames have at this quality."""
    import numpy as np

    from tsal_dist.shards.manifest import build_manifest, encode_manifest

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    shards = tuple(_make_shard(folder, number, frames // 4, (width, height), rng) for number in range(4))
    manifest = build_manifest("train", "bench", "300w-68", 68, shards)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))


def _make_shard(
    folder: Path, number: int, frames: int, size_px: tuple[int, int], rng: "np.random.Generator"
) -> "Shard":
    import hashlib

    import cv2
    import numpy as np

    from tsal_dist.pack.row import encode_label
    from tsal_dist.pack.write import TarFile, build_segments
    from tsal_dist.shards.frames import FrameRow, encode_frames
    from tsal_dist.shards.index import encode_index
    from tsal_dist.shards.manifest import Shard
    from tsal_dist.shards.names import frame_key

    name, (width, height) = f"bench-{number}", size_px
    tar, rows = TarFile(folder / f"{name}.tar"), []
    for frame in range(frames):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        jpg = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 2.0), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        row = FrameRow(
            video=f"video{number}",
            frame=frame,
            index=frame,
            size_px=size_px,
            source_size_px=size_px,
            box=(0.3 * width, 0.2 * height, 0.7 * width, 0.8 * height),
            face_px=0.4 * width,
            points_K2=(rng.random((68, 2)) * [width, height]).astype(np.float32),
            visible_K=np.ones(68, np.uint8),
        )
        tar.add(frame_key(row.video, frame), memoryview(jpg.tobytes()), encode_label(row))
        rows.append(row)
    index, tar_sha256 = tar.finish()
    parts = {"idx": encode_index(index, tar.size_bytes), "parquet": encode_frames(rows, 68)}
    for kind, data in parts.items():
        (folder / f"{name}.{kind}").write_bytes(data)
    return Shard(
        name=name,
        plan="bench",
        frames=len(rows),
        labelled=len(rows),
        failed=0,
        tar_bytes=tar.size_bytes,
        tar_sha256=tar_sha256,
        idx_sha256=hashlib.sha256(parts["idx"]).hexdigest(),
        parquet_sha256=hashlib.sha256(parts["parquet"]).hexdigest(),
        segments=build_segments(rows, frozenset()),
    )


def tars(url: str) -> list[str]:
    return [str(path) for path in sorted(Path(url).glob("*.tar"))]


def indexed(shards: "ShardSet", work: str) -> Callable[[], int]:
    """Every frame once in a new shuffled order, with its landmarks; `work` is bytes, checked or decode."""
    import numpy as np

    from tsal_dist.data.clips import build_clips
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.decode import decode_image
    from tsal_dist.data.order import EpochOrder
    from tsal_dist.data.reader import FrameReader

    reader, clips = FrameReader(shards, ViewSettings(CROP_PX)), build_clips(shards, "all")
    epoch = iter(range(1 << 30))

    def side() -> int:
        order = EpochOrder(clips.clips_per_shard_S, clips.fingerprint, 0, next(epoch), 32)
        for sample in order.ids(np.arange(len(order))).tolist():
            ref = clips.ref(sample)
            shard = reader.shard(ref.shard)
            (image,) = shard.read([ref.index]) if work == "bytes" else shard.images([ref.index])
            _ = shard.table.points_NK2[ref.index], shard.table.box_N4[ref.index]
            if work == "decode":
                decode_image(image)
        return len(order)

    return side


def sequential(url: str) -> Callable[[], int]:
    """What one writes first: a tar as a stream, a picture, its JSON."""
    import cv2
    import numpy as np

    def side() -> int:
        count = 0
        for path in tars(url):
            with tarfile.open(path, "r|") as tar:
                for member in tar:
                    data = tar.extractfile(member)
                    assert data is not None
                    if member.name.endswith(".jpg"):
                        cv2.imdecode(np.frombuffer(data.read(), np.uint8), cv2.IMREAD_COLOR)
                        count += 1
                    else:
                        np.array(json.load(data)["points"], np.float32)
        return count

    return side


def webdataset_bytes(url: str) -> Callable[[], int]:
    """webdataset's own reader, without decoding."""
    import webdataset as wds

    def side() -> int:
        return sum(1 for _ in wds.WebDataset(tars(url), shardshuffle=False))

    return side


def train_path(shards: "ShardSet") -> Callable[[], int]:
    """The hard view of every frame: decode, crop, rotate, colour, occlude."""
    from tsal_dist.config.data import DataConfig
    from tsal_dist.data.clips import build_clips
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.reader import FrameReader
    from tsal_dist.data.request import ClipRequest
    from tsal_dist.geometry.flip import flip_order

    reader = FrameReader(shards, ViewSettings(CROP_PX, augment=DataConfig().hard, mirror=flip_order(68)))
    clips = build_clips(shards, "all")

    def side() -> int:
        for sample in range(len(clips)):
            reader.read(ClipRequest(clips.ref(sample), 1, 1, rng_key=(0, 0, sample)))
        return len(clips)

    return side


def naive_path(url: str) -> Callable[[], int]:
    """Decode all of it, shrink it well, cut the face out; the bytes are in memory already."""
    import cv2
    import numpy as np

    images = []
    for path in tars(url):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    images.append(io.BytesIO(tar.extractfile(member).read()).getbuffer())  # type: ignore[union-attr]

    def side() -> int:
        for data in images:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            height, width = image.shape[:2]  # type: ignore[union-attr]
            scale = CROP_PX / (0.6 * height * 1.4)
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[arg-type]
            left, top = round(scale * width / 2 - CROP_PX / 2), round(scale * height / 2 - CROP_PX / 2)
            np.ascontiguousarray(small[max(0, top) : top + CROP_PX, max(0, left) : left + CROP_PX])
        return len(images)

    return side


def stream(shards: "ShardSet", workers: int) -> Callable[[], int]:
    """Whole epochs of a ClipStream, batches of 8."""
    from tsal_dist.config.data import DataConfig
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.request import ReadAhead
    from tsal_dist.data.stream import ClipStream
    from tsal_dist.geometry.flip import flip_order

    made = ClipStream(
        shards,
        ViewSettings(CROP_PX, augment=DataConfig().hard, mirror=flip_order(68)),
        select="all",
        batch=8,
        rank=0,
        world=1,
        seed=0,
        read_ahead=ReadAhead(workers=workers),
    )

    def side() -> int:
        return sum(len(next(made)) for _ in range(made.steps_per_epoch))

    return side


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
