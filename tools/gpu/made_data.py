"""Data that a check makes for itself: where it is needed nothing is at hand."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsal_dist.config.data import AugmentConfig
    from tsal_dist.data.shard_set import ShardSet
    from tsal_dist.data.stream import ClipStream


@contextmanager
def made_shards(frames: int, width: int, height: int) -> "Iterator[ShardSet]":
    """Shards of textured frames, for as long as the block lasts."""
    from tools.bench.loader import make_shards
    from tsal_dist.data.shard_set import open_shards

    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        make_shards(Path(folder) / "shards", frames, width, height)
        yield open_shards([f"{folder}/shards"])


def open_stream(
    crop_px: int, shards: "ShardSet", augment: "AugmentConfig", workers: int, raw: bool
) -> "ClipStream":
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.request import ReadAhead
    from tsal_dist.data.stream import ClipStream
    from tsal_dist.geometry.flip import flip_order

    return ClipStream(
        shards,
        ViewSettings(crop_px, augment=augment, raw=raw, mirror=flip_order(68)),
        select="all",
        batch=16,
        rank=0,
        world=1,
        seed=0,
        read_ahead=ReadAhead(workers),
    )
