"""A clip whose view is left to the device: readers only decode it and cut out the part of the picture that is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.augment import PLAIN, View
from tsal_dist.data.decode import decode_window
from tsal_dist.geometry import affine
from tsal_dist.records import Clip

MOST_GROWTH = 2
"""Longest side of a window, in sides of the crop. A larger one costs more to move than its view costs to paint."""


@dataclass(frozen=True)
class RawClip(Clip):
    """`image_THWC` holds source pixels, of any size; everything else is what it would be after the view was taken."""

    from_image_23: affine.Matrix = field(default_factory=lambda: affine.scale(1.0))
    """Pixels of the image to crop pixels."""
    view: View = PLAIN
    """What is still to be painted."""
    crop_px: int = 0


def cut_windows(
    images: Sequence[bytes | memoryview], view: View, to_crop_23: affine.Matrix, crop_px: int
) -> tuple[NDArray[np.uint8], affine.Matrix] | None:
    """The windows of a clip's frames and the matrix from them to the crop. None for what a reader has to do itself:
    JPEG artefacts, frames of different sizes, windows much larger than the crop."""
    if view.jpeg_quality:
        return None
    cut = [decode_window(data, to_crop_23, crop_px) for data in images]
    window_HWC, from_window_23 = cut[0]
    if any(other.shape != window_HWC.shape for other, _ in cut[1:]):
        return None
    if max(window_HWC.shape[:2]) > MOST_GROWTH * crop_px:
        return None
    return np.stack([window for window, _ in cut]), from_window_23


def leave_raw(clip: Clip, view: View, from_image_23: affine.Matrix, crop_px: int) -> RawClip:
    """The clip, with what is still to be done to its windows."""
    known = {each.name: getattr(clip, each.name) for each in fields(clip)}
    return RawClip(**known, from_image_23=from_image_23, view=view, crop_px=crop_px)
