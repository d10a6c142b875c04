"""Frames that are looked at once, to measure or to show: all of them in order, or chosen ones; nothing is augmented."""

import logging
from collections.abc import Iterator, Sequence

from tsal_dist.data.clips import ClipList, Select
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import build_reader_pool
from tsal_dist.data.request import ClipRequest, ReadAhead, Unreadable
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.data.stream import ClipStream
from tsal_dist.records import Clip

log = logging.getLogger(__name__)

WHEN_ASKED = ReadAhead(workers=0)


def read_all(
    shards: ShardSet,
    view: ViewSettings,
    select: Select,
    batch: int,
    rank: int = 0,
    world: int = 1,
    read_ahead: ReadAhead = WHEN_ASKED,
) -> Iterator[list[Clip]]:
    """This rank's share of the frames in the order of the shards, a batch at a time; what cannot be read is left out."""
    with ClipStream(
        shards,
        view,
        select=select,
        batch=batch,
        rank=rank,
        world=world,
        seed=0,
        shuffle=False,
        epochs=1,
        read_ahead=read_ahead,
    ) as stream:
        for clips in stream:
            if counted := [clip for clip in clips if not clip.pad]:
                yield counted


def read_chosen(
    shards: ShardSet,
    view: ViewSettings,
    clips: ClipList,
    numbers: Sequence[int],
    batch: int,
    read_ahead: ReadAhead = WHEN_ASKED,
) -> Iterator[list[Clip]]:
    """Those numbers of a list of single frames; no other is decoded, and what cannot be read is left out."""
    pool = build_reader_pool(shards, view, read_ahead, batch, 1)
    try:
        for start in range(0, len(numbers), batch):
            tickets = [
                pool.submit(ClipRequest(clips.ref(number), 1, 1, sample_id=number))
                for number in numbers[start : start + batch]
            ]
            found = [pool.take(ticket) for ticket in tickets]
            for clip in found:
                if isinstance(clip, Unreadable):
                    log.warning("a frame cannot be read and is left out: %s", clip.reason)
            if readable := [clip for clip in found if not isinstance(clip, Unreadable)]:
                yield readable
    finally:
        pool.close()
