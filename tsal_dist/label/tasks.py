"""The frames that a labelling page shows, with what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.config import RunConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.shard_set import ShardSet, open_cached
from tsal_dist.errors import ConfigError
from tsal_dist.inference.held_out import open_of_run
from tsal_dist.inference.suggestion import split_refs, spread_refs, window_origin
from tsal_dist.label.book import Mark
from tsal_dist.label.suggested import Kept
from tsal_dist.records import FrameRef


@dataclass(frozen=True)
class FrameToLabel:
    """One frame to label."""

    ref: FrameRef
    video: str
    frame: int | None
    """Counted from 0; None for a still."""
    reason: str
    guess: tuple[tuple[float, float], ...]
    """Where a detector sees the points, in pixels of the source; () without one."""

    def first_marks(self, count: int) -> list[Mark]:
        """What the page shows of a frame that nobody has looked at."""
        return [(x, y, 1) for x, y in self.guess] if self.guess else [(0.0, 0.0, 0)] * count


def open_footage(run: Path, config: RunConfig, urls: Sequence[str]) -> ShardSet:
    """Shards by these names, or those that the run in this folder learns from without labels, or else with them."""
    if urls:
        return open_cached(urls, config.data)
    if not (config.data.unlabelled or config.data.labelled):
        raise ConfigError("The run names no shards. Name footage with --shards.")
    return open_of_run(run, config, "unlabelled" if config.data.unlabelled else "labelled")


def suggested_tasks(shards: ShardSet, kept: Sequence[Kept]) -> list[FrameToLabel]:
    return [
        FrameToLabel(
            one.ref, one.video, None if shards.is_still(one.ref) else one.frame, one.reason, one.points
        )
        for one in kept
    ]


def spread_tasks(shards: ShardSet, count: int) -> list[FrameToLabel]:
    """Without a detector to ask: unlabelled frames evenly over all footage."""
    refs, _ = split_refs(shards)
    if not refs:
        raise ConfigError("Every frame of these shards is labelled. Name other footage with --shards.")
    pictures = Pictures(shards)
    try:
        return [pictures.task(ref, "spread over the footage") for ref in spread_refs(refs, count)]
    finally:
        pictures.close()


class Pictures:
    """Stored frames as they lie in their shards, and the way from their pixels to the source's."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards
        self._reader = FrameReader(shards, ViewSettings(32, labels=False))

    def jpeg(self, ref: FrameRef) -> bytes:
        return bytes(self._reader.shard(ref.shard).images([ref.index])[0])

    def size_px(self, ref: FrameRef) -> tuple[int, int]:
        """Width and height of what is stored, in pixels of the source, in which labels are written."""
        width, height = self._reader.shard(ref.shard).table.source_size_N2[ref.index].tolist()
        return width, height

    def on_picture(self, ref: FrameRef, marks: Sequence[Mark]) -> list[Mark]:
        """Marks of the source on the picture that is shown: shards of crops hold a window of the source alone."""
        left, top = self._origin_px(ref)
        return _moved(marks, -left, -top)

    def in_source(self, ref: FrameRef, marks: Sequence[Mark]) -> list[Mark]:
        """Undoes `on_picture`."""
        return _moved(marks, *self._origin_px(ref))

    def _origin_px(self, ref: FrameRef) -> tuple[float, float]:
        left, top = window_origin(self._reader.shard(ref.shard).table, ref.index).tolist()
        return left, top

    def task(self, ref: FrameRef, reason: str) -> FrameToLabel:
        """A frame without a guess."""
        table = self._reader.shard(ref.shard).table
        frame = None if self._shards.is_still(ref) else int(table.frame_N[ref.index])
        return FrameToLabel(ref, table.videos[table.video_N[ref.index]], frame, reason, ())

    def close(self) -> None:
        self._reader.close()


def _moved(marks: Sequence[Mark], x_px: float, y_px: float) -> list[Mark]:
    """A mark without a place stays without."""
    return [(x + x_px, y + y_px, seen) if seen else (x, y, seen) for x, y, seen in marks]
