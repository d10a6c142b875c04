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

from tsal_dist.synthetic.shape import Array

Picture = NDArray[np.uint8]
Color = Sequence[float] | Array
_BITS = 4


def fixed(points: Array) -> NDArray[np.int32]:
    """Places as OpenCV's fixed point numbers."""
    return np.rint(points * (1 << _BITS)).astype(np.int32)


def rgb(color: Color) -> tuple[float, ...]:
    """A colour as the plain floats that OpenCV accepts."""
    return tuple(np.asarray(color, float).tolist())


def fill(picture: NDArray[Any], polygon: Array, color: Color) -> None:
    """Fill a polygon, its edge smooth."""
    cv2.fillPoly(picture, [fixed(polygon)], rgb(color), cv2.LINE_AA, _BITS)


def stroke(picture: NDArray[Any], path: Array, color: Color, width_px: float, closed: bool = False) -> None:
    """Draw along a path. A line thinner than a pixel is drawn one pixel wide."""
    cv2.polylines(picture, [fixed(path)], closed, rgb(color), max(1, round(width_px)), cv2.LINE_AA, _BITS)


def disc(
    picture: NDArray[Any], center: Array, radii: tuple[float, float], color: Color, deg: float = 0
) -> None:
    """Fill an ellipse."""
    x, y = fixed(np.asarray(center, float))
    axes = fixed(np.asarray(radii, float))
    cv2.ellipse(
        picture, (int(x), int(y)), (int(axes[0]), int(axes[1])), deg, 0, 360, rgb(color), -1, cv2.LINE_AA, _BITS
    )  # fmt: skip


@cache
def _curve_matrix(points: int, per_span: int, closed: bool) -> Array:
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


def curve(points: Array, per_span: int = 6, closed: bool = False) -> Array:
    """A smooth curve through the points, dense enough to draw as straight pieces."""
    return np.asarray(_curve_matrix(len(points), per_span, closed) @ points)


def soft_noise(rng: np.random.Generator, height: int, width: int, octaves: Sequence[int]) -> Array:
    """Cloudy noise in -1..1: one layer per octave (cells across the picture), each weaker than the last."""
    total = np.zeros((height, width), np.float32)
    strength, weight = 1.0, 0.0
    for cells in octaves:
        grid = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
        total += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += strength
        strength *= 0.6
    return np.asarray(total / weight, np.float64)
