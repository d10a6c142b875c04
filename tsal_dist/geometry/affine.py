"""Crop, scale, rotate, flip as one 2x3 matrix, for the image and its points alike.

A matrix A_23 takes a point p to A @ (x, y, 1). It is what `cv2.warpAffine` takes (without WARP_INVERSE_MAP),
since OpenCV too puts a pixel's coordinate at its centre. Matrices are float64: a chain of them must bring a
point back to where it was. Six numbers are multiplied by hand: numpy takes ten times as long to begin.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsal_dist.errors import DataError

Matrix = NDArray[np.float64]


def translate(x_px: float, y_px: float) -> Matrix:
    return np.array([[1.0, 0.0, x_px], [0.0, 1.0, y_px]])


def scale(factor: float) -> Matrix:
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])


def rotate(degrees: float) -> Matrix:
    """Turn from the x axis (right) towards the y axis (down): clockwise to the eye."""
    radians = math.radians(degrees)
    return np.array(
        [[math.cos(radians), -math.sin(radians), 0.0], [math.sin(radians), math.cos(radians), 0.0]]
    )


def mirror(width_px: int) -> Matrix:
    """Left and right exchanged in an image of this width. Its landmarks need `flip.flip_order` as well."""
    return np.array([[-1.0, 0.0, width_px - 1.0], [0.0, 1.0, 0.0]])


def reduce(factor: int) -> Matrix:
    """Pixels of an image to those of the same image averaged over factor x factor blocks (a reduced JPEG)."""
    return np.array([[1.0 / factor, 0.0, 0.5 / factor - 0.5], [0.0, 1.0 / factor, 0.5 / factor - 0.5]])


def chain(*steps_23: Matrix) -> Matrix:
    """One matrix that does the steps in the order in which they are written."""
    xx, xy, x, yx, yy, y = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    for step_23 in steps_23:
        (a, b, u), (c, d, v) = step_23.tolist()
        xx, yx = a * xx + b * yx, c * xx + d * yx
        xy, yy = a * xy + b * yy, c * xy + d * yy
        x, y = a * x + b * y + u, c * x + d * y + v
    return np.array([[xx, xy, x], [yx, yy, y]])


def determinant(matrix_23: Matrix) -> float:
    """Area after the matrix over area before it; negative where left and right are exchanged."""
    (a, b, _), (c, d, _) = matrix_23.tolist()
    return float(a * d - b * c)


def invert(matrix_23: Matrix) -> Matrix:
    size = determinant(matrix_23)
    if abs(size) < 1e-12:
        raise DataError(
            "A crop matrix has determinant 0 and cannot be undone. Its box is empty: give a box with area."
        )
    (a, b, u), (c, d, v) = matrix_23.tolist()
    return np.array([[d, -b, b * v - d * u], [-c, a, c * u - a * v]]) / size


def apply(matrix_23: Matrix, points_K2: ArrayLike) -> NDArray[np.float64]:
    """Move points; any leading axes."""
    return np.asarray(points_K2, dtype=np.float64) @ matrix_23[:, :2].T + matrix_23[:, 2]


def magnification(matrix_23: Matrix) -> float:
    """Length after the matrix over length before it."""
    return math.sqrt(abs(determinant(matrix_23)))


def crop(
    box: ArrayLike,
    size_px: int,
    *,
    expand: float = 0.2,
    zoom: float = 1.0,
    degrees: float = 0.0,
    shift_px: tuple[float, float] = (0.0, 0.0),
    flip: bool = False,
) -> Matrix:
    """Source pixels to a square crop around a face box, with the augmentation of one clip.

    The longer side of the box, widened by `expand` of itself on both ends, fills the crop; the aspect ratio is
    kept. `zoom`, `degrees` and `flip` act about the crop's centre, `shift_px` then moves the face in the crop.
    """
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    side_px = max(x2 - x1, y2 - y1) * (1.0 + 2.0 * expand)
    if not (x2 > x1 and y2 > y1 and math.isfinite(side_px)):
        raise DataError(
            f"Face box {[float(v) for v in (x1, y1, x2, y2)]} has no area. "
            "Boxes are x1 y1 x2 y2 with x2 > x1 and y2 > y1; convert x y width height first."
        )
    middle_px = (size_px - 1) / 2
    steps = [
        translate(-(x1 + x2) / 2, -(y1 + y2) / 2),
        scale(zoom * size_px / side_px),
        rotate(degrees),
        translate(middle_px, middle_px),
    ]
    if flip:
        steps.append(mirror(size_px))
    return chain(*steps, translate(*shift_px))
