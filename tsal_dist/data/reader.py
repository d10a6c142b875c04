"""Any clip of a set of shards by name: one `pread`, then decode, crop and paint.

The frames of a video lie side by side in its tar, so a clip is one range of bytes; the index says where it is,
the frame table holds boxes and landmarks, and each image is checked against its CRC. Indices and tables of
the shards used last are kept, and one file handle for each.
"""

import functools
import os
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.clips import clip_positions
from tsal_dist.data.crop import ViewSettings, crop_images, place_points
from tsal_dist.data.pool import InProcess, Workers, build_pool
from tsal_dist.data.raw_clip import MOST_GROWTH, cut_windows, leave_raw
from tsal_dist.data.request import ClipRequest, ReadAhead
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import DataError
from tsal_dist.geometry import affine
from tsal_dist.records import Clip
from tsal_dist.shards.frames import FrameTable
from tsal_dist.shards.index import Index
from tsal_dist.shards.manifest import Segment


class OpenShard:
    """A shard in use. Offsets are kept as plain numbers: picking single records out of the index costs more
    than the read itself."""

    def __init__(
        self, name: str, tar: Path, index: Index, table: FrameTable, segments: tuple[Segment, ...]
    ) -> None:
        self.name = name
        self.table = table
        self._segments = segments
        self._segment_starts = [segment.start for segment in segments]
        self._offsets: list[int] = index["jpg_offset"].tolist()
        self._sizes: list[int] = index["jpg_size"].tolist()
        self._crcs: list[int] = index["jpg_crc32"].tolist()
        self._handle = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)

    def segment_of(self, position: int) -> Segment:
        if not 0 <= position < len(self.table):
            raise DataError(
                f"{self.name} has {len(self.table)} frames; there is none at position {position}."
            )
        return self._segments[bisect_right(self._segment_starts, position) - 1]

    def read(self, positions: Sequence[int]) -> list[memoryview]:
        """The encoded images at these rising positions: one read of the range that holds them all."""
        first, last = self._offsets[positions[0]], positions[-1]
        data = memoryview(os.pread(self._handle, self._offsets[last] + self._sizes[last] - first, first))
        if len(positions) == 1:
            return [data]
        starts = [self._offsets[position] - first for position in positions]
        return [
            data[start : start + self._sizes[each]] for start, each in zip(starts, positions, strict=True)
        ]

    def images(self, positions: Sequence[int]) -> list[memoryview]:
        """As `read`, each checked against its CRC."""
        images = self.read(positions)
        for position, image in zip(positions, images, strict=True):
            if zlib.crc32(image) != self._crcs[position]:
                raise DataError(f"{self.name}: the image at position {position} fails its checksum.")
        return images

    def close(self) -> None:
        os.close(self._handle)


class FrameReader:
    """Reads clips of a shard set, in one process and one thread; `most_open` shards stay open."""

    def __init__(self, shards: ShardSet, settings: ViewSettings, most_open: int = 64) -> None:
        self._shards = shards
        self._settings = settings
        self._points = shards.points if settings.points is None else settings.points
        self._most_open = most_open
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        settings.check(shards.points)

    def read(self, request: ClipRequest) -> Clip:
        """The clip that a request names; DataError where one of its frames is damaged or absent."""
        shard = self.shard(request.ref.shard)
        table = shard.table
        segment = shard.segment_of(request.ref.index)
        rows_T = clip_positions(segment, request.ref.index, request.num_frames, request.stride)
        box_4 = np.asarray(request.box, np.float32) if request.box else _clip_box(table.box_N4[rows_T])
        view = self._settings.view(request.rng_key, request.mirrored)
        to_crop_23 = view.to_crop(box_4, self._settings.crop_px, self._settings.expand)
        mirror_K = self._settings.mirror if view.flip else ()
        labelled_T = table.labelled_N[rows_T] & self._settings.looks_at_labels(request.ref.shard)
        points_TK2 = np.zeros((len(rows_T), self._points, 2), np.float32)
        visible_TK = np.zeros((len(rows_T), self._points), np.bool_)
        if labelled_T.any():
            placed_TK = (table.visible_NK[rows_T] > 0) & labelled_T[:, None]
            points_TK2, visible_TK = place_points(
                table.points_NK2[rows_T], placed_TK, to_crop_23, self._settings.crop_px, mirror_K
            )
        rows, back_T = np.unique(rows_T, return_inverse=True)  # a repeated frame is decoded once
        images, crop_px = shard.images(rows.tolist()), self._settings.crop_px
        cut = cut_windows(images, view, to_crop_23, crop_px) if self._settings.raw else None
        crops = cut[0] if cut else crop_images(images, view, to_crop_23, crop_px)
        clip = Clip(
            image_THWC=crops if len(rows) == len(rows_T) else crops[back_T],
            points_TK2=points_TK2,
            visible_TK=visible_TK,
            labelled_T=labelled_T,
            to_crop_23=to_crop_23,
            box_4=box_4,
            face_px=float(table.face_px_N[rows_T].mean()) * affine.magnification(to_crop_23),
            video=table.videos[table.video_N[rows_T[0]]],
            frames_T=table.frame_N[rows_T],
            ref=request.ref,
            stride=request.stride,
            sample_id=request.sample_id,
            pad=request.pad,
            mirror_K=mirror_K,
            attributes=table.attributes[rows_T[0]],
        )
        return leave_raw(clip, view, cut[1], crop_px) if cut else clip

    def shard(self, number: int) -> OpenShard:
        """A shard by its number, opened if need be."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        if not 0 <= number < len(self._shards):
            raise DataError(f"There is no shard {number} in a set of {len(self._shards)}.")
        try:
            shard = self._open_shard(number)
        except (FileNotFoundError, DataError):
            if not self._shards.remote:
                raise
            shard = self._open_shard(number)  # another process may have evicted it under our hands
        self._open[number] = shard
        if len(self._open) > self._most_open:
            self._open.popitem(last=False)[1].close()
        return shard

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _open_shard(self, number: int) -> OpenShard:
        files = self._shards.files(number)
        index, table = self._shards.tables(number, files)
        return OpenShard(self._shards.name(number), files.tar, index, table, self._shards.segments(number))


def build_reader_pool(
    shards: ShardSet,
    settings: ViewSettings,
    ahead: ReadAhead,
    clips_ahead: int,
    frames_per_clip: int = 1,
    most_open: int = 64,
) -> InProcess | Workers:
    """Readers in `ahead.workers` processes: what a stream uses, and what reads pseudo-labelled frames by name."""
    settings.check(shards.points)  # here, where the caller sees it, before processes find out
    build = functools.partial(FrameReader, shards, settings, most_open)
    longest_px = settings.crop_px * (MOST_GROWTH if settings.raw else 1)
    return build_pool(build, ahead, clips_ahead, longest_px, frames_per_clip)


def _clip_box(box_T4: NDArray[np.float32]) -> NDArray[np.float32]:
    """One box for all frames of a clip, since they share one crop: the mean, as a detector's boxes tremble."""
    return np.asarray(box_T4.mean(0), np.float32)
