"""One shard, written in a scratch folder and committed in an order that a kill cannot break.

Tar, index and frame table move into place one after the other, and X.json last: what lies there without a valid
X.json is overwritten by the next run.
"""

import hashlib
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsal_dist.errors import DataError
from tsal_dist.pack.boxes import Detector
from tsal_dist.pack.decode import Decoder
from tsal_dist.pack.packing_plan import PackOptions, ShardPlan
from tsal_dist.pack.row import build_row, encode_label
from tsal_dist.pack.window import WindowFollower
from tsal_dist.shards import files
from tsal_dist.shards.frames import OK, FrameRow, encode_frames
from tsal_dist.shards.index import INDEX_DTYPE, Index, encode_index
from tsal_dist.shards.manifest import Segment, Shard, decode_shard, encode_shard, format_ranges
from tsal_dist.shards.names import IMAGE_EXTENSION, LABEL_EXTENSION, frame_key
from tsal_dist.shards.ustar import BLOCK, END, encode_member

_MOST_UNDER_WAY = 16
"""Frames that wait to be written: a picture of 720p is 200 kB."""


@dataclass(frozen=True)
class Target:
    """Where the shards of one plan go; the same for all of them."""

    folder: str
    """Path or URL."""
    scratch: Path
    """On this machine, and on the folder's own device where that is a path."""
    plan: str
    points: int
    options: PackOptions


@dataclass(frozen=True)
class Packed:
    """A shard that this run committed."""

    record: Shard
    problems: Counter[str]
    """Failed frames by status."""


class TarFile:
    """A tar on its way to a local path, with its digest and its index.

    Checksums and writing are done by a thread of its own, member after member: the one that adds decodes and encodes the
    next picture meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0)
        self._seal = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "tar")
        self._under_way: deque[Future[tuple[int, ...]]] = deque()
        self._records: list[tuple[int, ...]] = []
        self.size_bytes = 0

    @property
    def frames(self) -> int:
        """How many are stored so far, which is the position of the next."""
        return len(self._records) + len(self._under_way)

    def add(self, key: str, image: memoryview, label: bytes) -> None:
        """Neither may change from now on. What went wrong with an earlier one is raised here or by `finish`."""
        image_parts = encode_member(f"{key}.{IMAGE_EXTENSION}", image)
        label_parts = encode_member(f"{key}.{LABEL_EXTENSION}", label)
        jpg_offset = self.size_bytes + BLOCK
        json_offset = jpg_offset + len(image) + -len(image) % BLOCK + BLOCK
        parts = [*image_parts, *label_parts]
        self.size_bytes += sum(map(len, parts))
        place = (jpg_offset, json_offset, len(image), len(label))
        self._under_way.append(self._thread.submit(self._store, parts, image, label, place))
        if len(self._under_way) > _MOST_UNDER_WAY:
            self._records.append(self._under_way.popleft().result())

    def _store(
        self, parts: Sequence[bytes | memoryview], image: memoryview, label: bytes, place: tuple[int, ...]
    ) -> tuple[int, ...]:
        self._write(parts)
        return (*place, zlib.crc32(image), zlib.crc32(label))

    def _write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Joined once: fewer, larger calls to the kernel and to the digest."""
        data = memoryview(b"".join(parts))
        self._seal.update(data)
        written = self._file.write(data)
        while written < len(data):  # a full disk or a signal may cut an unbuffered write short
            written += self._file.write(data[written:])

    def finish(self) -> tuple[Index, str]:
        """The index and the sha256 of the closed tar."""
        while self._under_way:
            self._records.append(self._under_way.popleft().result())
        self._write([END])
        self.size_bytes += len(END)
        self.abandon()
        return np.array(self._records, INDEX_DTYPE), self._seal.hexdigest()

    def abandon(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._file.close()


def pack_shard(shard: ShardPlan, target: Target, decoder: Decoder, detect: Detector | None = None) -> Packed:
    """Make and commit one shard."""
    aside = target.scratch / f"{shard.name}.tar"
    tar = TarFile(aside)
    rows: list[FrameRow] = []
    options = target.options
    windows = WindowFollower(options.crop_margin) if options.crop_px else None
    try:
        for piece, decoded in decoder.frames_ahead(shard.pieces, options.stride):
            row, image = build_row(piece, decoded, tar.frames, options, detect, windows)
            if image is not None:
                tar.add(frame_key(row.video, row.frame), image, encode_label(row))
            rows.append(row)
        index, tar_sha256 = tar.finish()
    finally:
        tar.abandon()
    idx, parquet = encode_index(index, tar.size_bytes), encode_frames(rows, target.points)
    stored = [row for row in rows if row.status == OK]
    stills = frozenset(piece.source.name for piece in shard.pieces if piece.source.kind == "still")
    record = Shard(
        name=shard.name,
        plan=target.plan,
        frames=len(stored),
        labelled=sum(row.points_K2 is not None for row in stored),
        failed=len(rows) - len(stored),
        tar_bytes=tar.size_bytes,
        tar_sha256=tar_sha256,
        idx_sha256=hashlib.sha256(idx).hexdigest(),
        parquet_sha256=hashlib.sha256(parquet).hexdigest(),
        segments=build_segments(stored, stills),
    )
    # One sync of the folder, with the last file, makes all four names durable; a name that a power cut lost all
    # the same is missed by the next run.
    files.put_file(aside, files.join(target.folder, f"{shard.name}.tar"), durable=False)
    put(idx, target, f"{shard.name}.idx", durable=False)
    put(parquet, target, f"{shard.name}.parquet", durable=False)
    put(encode_shard(record), target, f"{shard.name}.json")
    return Packed(record, Counter(row.status for row in rows if row.status != OK))


def put(data: bytes, target: Target, name: str, durable: bool = True) -> None:
    """A small file by way of the scratch folder, so that a kill leaves nothing half-written beside the shards."""
    aside = target.scratch / name
    aside.write_bytes(data)
    files.put_file(aside, files.join(target.folder, name), durable)


def build_segments(stored: Sequence[FrameRow], stills: frozenset[str]) -> tuple[Segment, ...]:
    """Cut the stored frames of a shard, in order, where the video, the step of its frame numbers or its window changes.

    Neighbouring stills, named in `stills`, share one segment.
    """
    segments: list[Segment] = []
    start = 0
    while start < len(stored):
        first = stored[start]
        still = first.video in stills
        frames, step = _count_stills(stored, start, stills) if still else _count_steps(stored, start)
        labelled = np.flatnonzero([row.points_K2 is not None for row in stored[start : start + frames]])
        segments.append(
            Segment(
                kind="stills" if still else "video",
                video="" if still else first.video,
                start=start,
                frames=frames,
                first_frame=0 if still else first.frame,
                frame_step=step,
                labelled=format_ranges(labelled),
            )
        )
        start += frames
    return tuple(segments)


def _count_stills(stored: Sequence[FrameRow], start: int, stills: frozenset[str]) -> tuple[int, int]:
    stop = start
    while stop < len(stored) and stored[stop].video in stills:
        stop += 1
    return stop - start, 1


def _count_steps(stored: Sequence[FrameRow], start: int) -> tuple[int, int]:
    """How many frames of one video follow each other at one distance from `start` on, and the distance."""
    stop, step = start + 1, 0
    while stop < len(stored) and _share_place(stored[start], stored[stop]):
        distance = stored[stop].frame - stored[stop - 1].frame
        if step not in (0, distance):
            break
        step, stop = distance, stop + 1
    return stop - start, step or 1


def _share_place(one: FrameRow, other: FrameRow) -> bool:
    """Whether two frames show the same part of one video: only then they may be read through one matrix."""
    places = ((row.video, row.origin_px, row.source_size_px) for row in (one, other))
    return len(set(places)) == 1


def finished_shard(shard: ShardPlan, folder: str, plan: str) -> Shard | None:
    """The record of a shard that an earlier run committed under this plan and whose tar is still whole."""
    url = files.join(folder, f"{shard.name}.json")
    if not files.exists(url):
        return None
    try:
        record = decode_shard(files.read_bytes(url), url)
    except DataError:
        return None
    size = files.size_bytes(files.join(folder, f"{shard.name}.tar"))
    others = [files.exists(files.join(folder, f"{shard.name}.{ext}")) for ext in ("idx", "parquet")]
    return record if record.plan == plan and record.tar_bytes == size and all(others) else None
