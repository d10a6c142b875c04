"""Where the subject is, when no annotation says so: the whole frame, or what a detector found."""

from collections.abc import Callable

import cv2
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
    """The detected box that covers the labelled face best, or the one with the best score; None without any, or
    where none covers it at all."""
    if not len(boxes_N5):
        return None
    target = tight_box(face)
    # Points reach half a pixel to each side: those in a row, or a lone one, have no area.
    reach_4 = np.array([-0.5, -0.5, 0.5, 0.5])
    merit = boxes_N5[:, 4] if target is None else overlap(boxes_N5[:, :4], np.array(target) + reach_4)
    if merit.max() <= 0:
        return None  # a labelled subject that was not found is not where another one is
    x1, y1, x2, y2 = boxes_N5[int(np.argmax(merit)), :4].tolist()
    return (x1, y1, x2, y2)


def overlap(boxes_N4: NDArray[np.floating], target_4: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union with one box."""
    inner = np.minimum(boxes_N4[:, 2:], target_4[2:]) - np.maximum(boxes_N4[:, :2], target_4[:2])
    shared = np.prod(np.clip(inner, 0, None), axis=1)
    area = np.prod(boxes_N4[:, 2:] - boxes_N4[:, :2], axis=1) + np.prod(target_4[2:] - target_4[:2])
    alike_N: NDArray[np.float64] = shared / np.maximum(area - shared, 1e-9)
    return alike_N


def apart(boxes_N5: NDArray[np.float32], alike: float) -> NDArray[np.float32]:
    """The boxes that overlap with no better one by more than `alike`, the best first."""
    left_N5 = boxes_N5[np.argsort(-boxes_N5[:, 4], kind="stable")]
    kept = []
    while len(left_N5):
        kept.append(left_N5[0])
        left_N5 = left_N5[1:][overlap(left_N5[1:, :4], left_N5[0, :4]) <= alike]
    return np.array(kept, np.float32).reshape(-1, 5)


def fit_square(
    image_HWC: NDArray[np.uint8], side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """The picture in the middle of a black square; pixels of the square per pixel of it, and where its corner is."""
    size_2 = np.array(image_HWC.shape[1::-1])
    inner_2 = np.maximum(1, np.rint(size_2 * side_px / size_2.max())).astype(int)
    inner = cv2.resize(image_HWC, inner_2.tolist(), interpolation=cv2.INTER_AREA)
    left, top = ((side_px - inner_2) // 2).tolist()
    square_SS3 = np.zeros((side_px, side_px, 3), np.uint8)
    square_SS3[top : top + inner_2[1], left : left + inner_2[0]] = inner
    return square_SS3, (inner_2 / size_2).astype(np.float32), np.array([left, top], np.float32)


def leave_square(
    boxes_N5: NDArray[np.float32], scale_2: NDArray[np.float32], corner_2: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Boxes with scores, counted from the edge of the square, to the picture's, counted from the middle of its first pixel."""
    corners_N4 = (boxes_N5[:, :4] - np.tile(corner_2, 2)) / np.tile(scale_2, 2) - 0.5
    return np.hstack([corners_N4, boxes_N5[:, 4:]]).astype(np.float32)
