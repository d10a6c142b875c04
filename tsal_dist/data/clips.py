"""The list of all clips in a set of shards: known from the manifests alone, before any shard is opened.

Every candidate frame (labelled, unlabelled or any), or every `hop`-th of a video, begins one clip of T frames,
`stride` apart. Where the video ends too early the clip begins earlier by whole strides, so that it still holds
its frame; a video shorter than a clip repeats its last frame, a still image repeats itself.
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import ConfigError
from tsal_dist.records import FrameRef
from tsal_dist.shards.manifest import Segment, parse_ranges

Select = Literal["labelled", "unlabelled", "all"]


@dataclass(frozen=True)
class ClipList:
    """C clips in S shards; a clip's sample id is its place in this list."""

    start_C: NDArray[np.int32]
    """Position of the first frame in its shard."""
    clips_per_shard_S: NDArray[np.int64]
    num_frames: int
    stride: int
    fingerprint: str
    """Equal for equal lists of equal bytes: a saved position belongs to it."""

    def __len__(self) -> int:
        return len(self.start_C)

    @cached_property
    def _ends_S(self) -> list[int]:
        ends: list[int] = np.cumsum(self.clips_per_shard_S).tolist()
        return ends

    def ref(self, sample_id: int) -> FrameRef:
        """The first frame of a clip."""
        return FrameRef(bisect_right(self._ends_S, sample_id), int(self.start_C[sample_id]))


def build_clips(
    shards: ShardSet, select: Select, num_frames: int = 1, stride: int = 1, hop: int | None = None
) -> ClipList:
    """List the clips. `hop` defaults to 1 for labelled frames, of which none is left out, and to windows that do
    not overlap for the others."""
    hop = hop or (1 if select == "labelled" else num_frames * stride)
    if min(num_frames, stride, hop) < 1:
        raise ConfigError(
            f"Clips of {num_frames} frames, stride {stride}, hop {hop}: each must be at least 1."
        )
    starts = [
        [_starts(segment, select, num_frames, stride, hop) for segment in shards.segments(shard)]
        for shard in range(len(shards))
    ]
    counts = [sum(len(part) for part in parts) for parts in starts]
    if not sum(counts):
        where = ", ".join(manifest.url for manifest in shards.manifests)
        raise ConfigError(f"There are no {select} frames in {where}. Pack some, or ask for other frames.")
    words = (shards.fingerprint, select, str(num_frames), str(stride), str(hop))
    return ClipList(
        start_C=np.concatenate([part for parts in starts for part in parts]),
        clips_per_shard_S=np.array(counts, np.int64),
        num_frames=num_frames,
        stride=stride,
        fingerprint=hashlib.sha256("\0".join(words).encode()).hexdigest(),
    )


def clip_positions(segment: Segment, start: int, num_frames: int, stride: int) -> NDArray[np.int64]:
    """Positions in the shard of a clip's frames; the last one that exists is repeated."""
    if segment.kind == "stills":
        return np.full(num_frames, start, np.int64)
    steps_left = (segment.start + segment.frames - 1 - start) // stride
    return start + stride * np.minimum(np.arange(num_frames, dtype=np.int64), steps_left)


def _starts(segment: Segment, select: Select, num_frames: int, stride: int, hop: int) -> NDArray[np.int32]:
    """Where in the shard the clips of a segment begin."""
    labelled = parse_ranges(segment.labelled)
    if select == "labelled":
        anchors = labelled
    elif select == "all":
        anchors = np.arange(segment.frames)
    else:
        anchors = np.delete(np.arange(segment.frames), labelled)
    if segment.kind == "video":
        anchors = anchors[::hop]
        beyond = np.maximum(0, anchors + (num_frames - 1) * stride - (segment.frames - 1))
        back = np.minimum(-(-beyond // stride), anchors // stride)
        anchors = anchors - back * stride
    return (segment.start + anchors).astype(np.int32)
