"""Drawing with subpixel places, and smooth curves through points.

OpenCV draws on whole pixels unless places come multiplied by a power of two; here every place is a float whose
whole numbers are pixel centres.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.floating]
Color = Sequence[float] | Floats
_BITS = 4


def fixed(points: Floats) -> NDArray[np.int32]:
    """Places as OpenCV's fixed point numbers."""
    return np.asarray(np.rint(points * (1 << _BITS)), np.int32)


def rgb(color: Color) -> tuple[float, ...]:
    """A colour as the plain floats that OpenCV accepts."""
    return tuple(np.asarray(color, float).tolist())


def fill(picture: NDArray[Any], polygon: Floats, color: Color) -> None:
    """Fill a polygon, its edge smooth."""
    cv2.fillPoly(picture, [fixed(polygon)], rgb(color), cv2.LINE_AA, _BITS)


def stroke(picture: NDArray[Any], path: Floats, color: Color, width_px: float, closed: bool = False) -> None:
    """Draw along a path. A line thinner than a pixel is drawn one pixel wide."""
    cv2.polylines(picture, [fixed(path)], closed, rgb(color), max(1, round(width_px)), cv2.LINE_AA, _BITS)


def disc(
    picture: NDArray[Any],
    center: Floats,
    radii: tuple[float, float],
    color: Color,
    deg: float = 0,
    rim_px: int = -1,
) -> None:
    """Fill an ellipse, or draw its rim alone, where that has a width."""
    x, y = fixed(np.asarray(center, float))
    axes = fixed(np.asarray(radii, float))
    cv2.ellipse(
        picture, (int(x), int(y)), (int(axes[0]), int(axes[1])), deg, 0, 360, rgb(color), rim_px, cv2.LINE_AA, _BITS
    )  # fmt: skip


@cache
def _curve_matrix(points: int, per_span: int, closed: bool) -> NDArray[np.float64]:
    """Catmull-Rom as one matrix: dense = matrix @ points."""
    spans = points if closed else points - 1
    rows = []
    for span in range(spans):
        for f in np.arange(per_span) / per_span:
            weights = (
                -0.5 * f + f**2 - 0.5 * f**3,
                1 - 2.5 * f**2 + 1.5 * f**3,
                0.5 * f + 2 * f**2 - 1.5 * f**3,
                -0.5 * f**2 + 0.5 * f**3,
            )
            row = np.zeros(points)
            for k, w in enumerate(weights, -1):
                at = (span + k) % points if closed else min(max(span + k, 0), points - 1)
                row[at] += w
            rows.append(row)
    if not closed:
        rows.append(np.eye(points)[-1])
    return np.array(rows)


def curve(points: Floats, per_span: int = 6, closed: bool = False) -> NDArray[np.float64]:
    """A smooth curve through the points, dense enough to draw as straight pieces."""
    return np.asarray(_curve_matrix(len(points), per_span, closed) @ points)
