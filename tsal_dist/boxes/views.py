"""Whole frames drawn anew: moved, scaled, mirrored and coloured, and their boxes with them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.boxes.labelled import Image, Shown
from tsal_dist.config.data import AugmentConfig
from tsal_dist.data.augment import draw_view
from tsal_dist.geometry import affine
from tsal_dist.pack.row import shrink

AUGMENT = AugmentConfig(rotate_deg=0, scale=0.35, shift=0.2, blur_prob=0.1, jpeg_prob=0.1, occlude_prob=0.1)
"""Nothing is turned: the box around turned points is not the turned box."""
LEAST_SEEN = 0.5
"""A subject of which less than this share of its box is in view is not one that should be found."""


def draw(shown: Shown, side_px: int, rng: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """One random view: a square of RGB bytes, and the boxes of the subjects in it."""
    view, image_HWC = draw_view(AUGMENT, rng), shown.image_HWC
    height, width = image_HWC.shape[:2]
    matrix_23 = view.to_crop((-0.5, -0.5, width - 0.5, height - 0.5), side_px, 0.0)
    square_SS3 = cv2.cvtColor(move_picture(image_HWC, matrix_23, side_px), cv2.COLOR_BGR2RGB)
    return view.paint(np.asarray(square_SS3, np.uint8)), move_boxes(shown.boxes_B4, matrix_23, side_px)


def move_picture(image_HWC: Image, matrix_23: affine.Matrix, side_px: int) -> Image:
    """A square of the picture, shrunk by areas first where it is shrunk: sampling alone would skip most of its pixels."""
    longer_px = max(image_HWC.shape[:2])
    small_HWC = shrink(image_HWC, max(1, round(min(1.0, affine.magnification(matrix_23)) * longer_px)))
    x_scale, y_scale = np.array(small_HWC.shape[1::-1]) / image_HWC.shape[1::-1]
    from_small_23 = np.array(
        [[1 / x_scale, 0, 0.5 / x_scale - 0.5], [0, 1 / y_scale, 0.5 / y_scale - 0.5]], np.float64
    )
    return np.asarray(
        cv2.warpAffine(small_HWC, affine.chain(from_small_23, matrix_23), (side_px, side_px)), np.uint8
    )


def move_boxes(boxes_B4: NDArray[np.float64], matrix_23: affine.Matrix, side_px: int) -> NDArray[np.float64]:
    """Where boxes are in that square, cut off at its edge; those that are mostly outside are left out."""
    corners_B22 = affine.apply(matrix_23, boxes_B4.reshape(-1, 2, 2))
    moved_B4 = np.hstack([corners_B22.min(1), corners_B22.max(1)])  # a mirror changes left and right
    cut_B4 = np.clip(moved_B4, -0.5, side_px - 0.5)
    seen_B4: NDArray[np.float64] = cut_B4[_area(cut_B4) >= LEAST_SEEN * np.maximum(_area(moved_B4), 1e-9)]
    return seen_B4


def _area(boxes_B4: NDArray[np.float64]) -> NDArray[np.float64]:
    area_B: NDArray[np.float64] = np.prod(boxes_B4[:, 2:] - boxes_B4[:, :2], axis=1)
    return area_B
