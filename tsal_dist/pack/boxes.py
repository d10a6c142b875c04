"""Where the subject is, when no annotation says so: the whole frame, or what a detector found."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tsal_dist.pack.face import Box, Face, tight_box

Detector = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""BGR image to boxes with scores: N rows x1 y1 x2 y2 score."""


def full_box(image_HWC: NDArray[np.uint8]) -> Box:
    """From the centre of the first pixel to that of the last."""
    height, width = image_HWC.shape[:2]
    return (0.0, 0.0, width - 1.0, height - 1.0)


def choose_box(boxes_N5: NDArray[np.float32], face: Face) -> Box | None:
    """The detected box that covers the labelled face best, or the one with the best score; None without any."""
    if not len(boxes_N5):
        return None
    target = tight_box(face)
    merit = boxes_N5[:, 4] if target is None else overlap(boxes_N5[:, :4], np.array(target))
    x1, y1, x2, y2 = boxes_N5[int(np.argmax(merit)), :4].tolist()
    return (x1, y1, x2, y2)


def overlap(boxes_N4: NDArray[np.floating], target_4: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union with one box."""
    inner = np.minimum(boxes_N4[:, 2:], target_4[2:]) - np.maximum(boxes_N4[:, :2], target_4[:2])
    shared = np.prod(np.clip(inner, 0, None), axis=1)
    area = np.prod(boxes_N4[:, 2:] - boxes_N4[:, :2], axis=1) + np.prod(target_4[2:] - target_4[:2])
    alike_N: NDArray[np.float64] = shared / np.maximum(area - shared, 1e-9)
    return alike_N
