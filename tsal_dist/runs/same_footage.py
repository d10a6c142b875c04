"""Finds held-out footage that is trained on under another name, by what its pictures show.

Some hundred held-out frames and some thousand training frames are compared, spread evenly over their sets, so that
sets of up to MOST_TRAINING frames are looked at whole. Two pictures are the same where none of 16 x 16 blocks differs in
its mean grey by more than a recompression or another size makes it differ.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import ConfigError
from tsal_dist.shards.index import decode_index

log = logging.getLogger(__name__)

BLOCKS = 16
ALIKE = 4
"""Grey levels of 256 by which blocks of the same picture may differ."""
FLATTEST = 8.0
"""Pictures whose blocks scatter by less, such as black ones, are alike without being the same."""
MOST_HELD_OUT, MOST_TRAINING = 200, 4000
REFUSED_SHARE, REFUSED_FRAMES = 0.02, 2
"""So many of the held-out frames must be trained on before the run is refused; fewer are chance, and are named."""
LARGE_JPEG = 60_000
"""Bytes from which a picture is decoded at a quarter of its size: blocks lose nothing, and time is saved."""


@dataclass(frozen=True)
class Sample:
    """Pictures of a set as block means."""

    block_NB: NDArray[np.int16]
    video_N: list[str]
    """Which video or folder each is of."""


def refuse_same_footage(training: ShardSet, held_out: ShardSet, key: str) -> None:
    """ConfigError where held-out frames are trained on, whatever they are called."""
    if training.remote or held_out.remote:
        return
    theirs = look_into(held_out, MOST_HELD_OUT, labelled=True)
    ours = look_into(training, MOST_TRAINING)
    same = list(_matches(theirs, ours))
    if not same:
        return
    one, other = theirs.video_N[same[0][0]], ours.video_N[same[0][1]]
    told = f"{len(same)} of {len(theirs.video_N)} held-out frames that were looked at"
    if len(same) >= max(REFUSED_FRAMES, REFUSED_SHARE * len(theirs.video_N)):
        raise ConfigError(
            f"{told} are also in {key}, under another name: a frame of {one!r} in data.validation looks like one of "
            f"{other!r}. Scores on footage that was trained on mean nothing: leave it out of one of the two."
        )
    log.warning("%s look like frames of %s (%r and %r)", told, key, one, other)


def look_into(shards: ShardSet, most: int, labelled: bool = False) -> Sample:
    """At most `most` frames, evenly spread; `labelled` takes those with an annotation only."""
    indices = [
        decode_index(shards.files(number).idx.read_bytes(), shards.name(number))[0]
        for number in range(len(shards))
    ]
    places = [np.flatnonzero(index["json_size"]) if labelled else np.arange(len(index)) for index in indices]
    total, first = sum(map(len, places)), 0
    chosen_N = np.unique(np.linspace(0, total - 1, min(most, total)).astype(int))
    blocks, videos = [], []
    for number, place_P in enumerate(places):
        own_N = chosen_N[(chosen_N >= first) & (chosen_N < first + len(place_P))] - first
        first += len(place_P)
        if not len(own_N):
            continue
        with open(shards.files(number).tar, "rb") as tar:
            for position in place_P[own_N]:
                record = indices[number][position]
                tar.seek(int(record["jpg_offset"]))
                block_B = blocks_of(tar.read(int(record["jpg_size"])))
                if block_B is not None:
                    blocks.append(block_B)
                    videos.append(_video_of(shards, number, int(position)))
    return Sample(np.array(blocks, np.int16).reshape(-1, BLOCKS**2), videos)


def blocks_of(jpg: bytes) -> NDArray[np.int16] | None:
    """Mean greys of a picture's blocks; None where it is flat or cannot be decoded."""
    how = cv2.IMREAD_REDUCED_GRAYSCALE_4 if len(jpg) >= LARGE_JPEG else cv2.IMREAD_GRAYSCALE
    image_HW = cv2.imdecode(np.frombuffer(jpg, np.uint8), how)
    if image_HW is None:
        return None
    block_B = cv2.resize(image_HW, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA).astype(np.int16).ravel()
    return block_B if block_B.std() >= FLATTEST else None


def _matches(theirs: Sample, ours: Sample) -> Iterator[tuple[int, int]]:
    """For each of their frames that is among ours, both places."""
    for place, block_B in enumerate(theirs.block_NB):
        # A few blocks rule out nearly all frames, and the rest are looked at whole.
        few = slice(0, BLOCKS**2, BLOCKS + 1)
        candidates = np.flatnonzero((np.abs(ours.block_NB[:, few] - block_B[few]) <= ALIKE).all(1))
        alike = candidates[(np.abs(ours.block_NB[candidates] - block_B) <= ALIKE).all(1)]
        if len(alike):
            yield place, int(alike[0])


def _video_of(shards: ShardSet, number: int, position: int) -> str:
    for segment in shards.segments(number):
        if segment.start <= position < segment.start + segment.frames:
            return segment.video or shards.name(number)
    return shards.name(number)
