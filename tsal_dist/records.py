"""Values that cross a boundary between parts: frozen, numpy only, no behaviour beyond their own shape.

Axes: T frames of one clip, K points, H W pixels of the crop. Boxes are x1 y1 x2 y2. Crop pixels are those of the square that
the detector sees. Source pixels, wherever pictures are read (here, `data`, `geometry`, `recipes`, `pseudo`), are those of the frame
as the shard stores it. Where people label (`pack`, `label`, `inference.suggestion`) the source is the file that was packed: its
pixels are others where it was packed smaller (--size) or around the subject alone (--crop).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """What the K landmarks are called and which of them are joined; empty where the labels do not say."""

    names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of landmarks, counted from 0, between which a line is drawn."""

    def names_of(self, points: int) -> tuple[str, ...]:
        """A name for each of `points` landmarks: their own, or their numbers."""
        return self.names if len(self.names) == points else tuple(str(number) for number in range(points))


UNNAMED = Layout()


@dataclass(frozen=True)
class FrameRef:
    """Where a frame lives: enough to read it again, whoever asks."""

    shard: int
    """Position of the shard in its manifest; several manifests count through."""
    index: int
    """Position of the frame in its shard."""


def frame_name(video: str, frame: int | None) -> str:
    """What people call a frame, here counted from 0; a still, which has no number, is called by its file."""
    return video if frame is None else f"{video} frame {frame + 1}"


@dataclass(frozen=True)
class Clip:
    """T frames of one video under one geometric transform; a still image is a clip of one frame."""

    image_THWC: NDArray[np.uint8]
    """RGB crop."""
    points_TK2: NDArray[np.float32]
    """Landmarks in crop pixels (x, y); zeros where not visible or not labelled."""
    visible_TK: NDArray[np.bool_]
    labelled_T: NDArray[np.bool_]
    to_crop_23: NDArray[np.float64]
    """Source pixels to crop pixels: p_crop = A @ (x, y, 1). One matrix for the clip."""
    box_4: NDArray[np.float32]
    """The subject's box that was cropped, x1 y1 x2 y2 in source pixels: with it anyone can take another view."""
    face_px: float
    """Size of the subject in crop pixels, by which errors are divided."""
    video: str
    frames_T: NDArray[np.int32]
    """Frame numbers in the source video."""
    ref: FrameRef
    """The first frame; the others follow it in the same shard, `stride` apart, and where the video ends
    its last frame is repeated."""
    stride: int
    sample_id: int
    """Position of the clip in its stream's list of clips, the same in every epoch and on every rank; -1 for a
    clip that was asked for by reference."""
    pad: bool
    """True for a repeat that only fills the last global batch of an epoch; weigh it zero."""
    mirror_K: tuple[int, ...] = ()
    """In a mirrored view: for each landmark, which one of the source it was. () in a view that is not mirrored."""
    attributes: tuple[str, ...] = ()
    """Words that the annotation gives the first frame, such as WFLW's "occlusion" or a 300VW category."""
