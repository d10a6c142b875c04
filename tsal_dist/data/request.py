"""What is asked of a reader, and what comes back when it cannot be had."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tsal_dist.records import Clip, FrameRef


@dataclass(frozen=True)
class ClipRequest:
    """One clip to read: where it is, how it is cropped, and the words that its randomness is drawn from."""

    ref: FrameRef
    num_frames: int
    stride: int
    sample_id: int = -1
    """-1: asked for by reference, not a sample of a stream."""
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 in source pixels; None takes the boxes that lie beside the frames."""
    rng_key: tuple[int, ...] = ()
    """Words for `generator_for`; without them the view is plain."""
    pad: bool = False
    mirrored: bool = True
    """False: never as a mirror image, whatever is drawn."""


@dataclass(frozen=True)
class Unreadable:
    """In place of a clip: what was asked and why it cannot be had."""

    request: ClipRequest
    reason: str


@dataclass(frozen=True)
class ReadAhead:
    """How far and with what is read ahead; changes speed and memory, never data."""

    workers: int = 2
    """Processes; 0 reads when asked."""
    batches: int = 4
    """Batches under way."""
    deadline_s: float = 120.0
    """Workers that give nothing for so long are an error."""


class Reads(Protocol):
    """What a worker needs: `reader.FrameReader` is one."""

    def read(self, request: ClipRequest) -> Clip: ...
    def close(self) -> None: ...


BuildReader = Callable[[], Reads]
"""Called once in each worker; it travels there, so it must be a plain function or a partial of one."""
