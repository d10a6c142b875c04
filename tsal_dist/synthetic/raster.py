"""Triangles to pixels: which triangle each pixel sees, and the vertices' values there.

Plain numpy: triangles of a similar size are tried on all pixels of their bounding boxes at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.synthetic.shape import Array

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

_SEAM = np.float32(1e-3)
"""A triangle owns a little more than itself, or rounding would leave holes between neighbours."""


@dataclass(frozen=True)
class Hits:
    """What the pixels see. Only pixels that see something are listed."""

    pixels: Indices
    """Flat indices, each once, ascending."""
    corners: Indices
    """The three vertices of the triangle seen, 3 x N."""
    shares: Floats
    """How much of each corner, 3 x N; they sum to 1."""

    def of(self, values: Floats) -> Floats:
        """Vertices' values, V x C, at the pixels, N x C."""
        (a, b, c), (wa, wb, wc) = self.corners, self.shares[..., None]
        return np.asarray(values[a] * wa + values[b] * wb + values[c] * wc)


def rasterize(xy: Array, depth: Array, triangles: NDArray[np.int64], width: int, height: int) -> Hits:
    """The nearest (largest depth) front-facing triangle of every pixel; pixel centres are whole numbers."""
    x, y = xy.T.astype(np.float32)
    ax, bx, cx = (x[corner] for corner in triangles.T)
    ay, by, cy = (y[corner] for corner in triangles.T)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    facing = np.flatnonzero(area < -1e-6)
    ax, bx, cx, ay, by, cy, area = (v[facing] for v in (ax, bx, cx, ay, by, cy, area))
    left = np.maximum(np.ceil(np.minimum(np.minimum(ax, bx), cx)), 0).astype(np.int32)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy)), 0).astype(np.int32)
    right = np.minimum(np.floor(np.maximum(np.maximum(ax, bx), cx)), width - 1).astype(np.int32)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy)), height - 1).astype(np.int32)
    extent = np.maximum(right - left, bottom - top) + 1
    extent[(right < left) | (bottom < top)] = 0

    # barycentric shares as planes over the picture: share = k + kx * x + ky * y
    inverse = 1.0 / area
    a_x, a_y = (by - cy) * inverse, (cx - bx) * inverse
    c_x, c_y = (ay - by) * inverse, (bx - ax) * inverse
    found = []
    smallest = 0
    while smallest < extent.max(initial=0):
        largest = max(2, smallest + smallest // 2 + 1)
        some = np.flatnonzero((extent > smallest) & (extent <= largest))
        smallest = largest
        if not len(some):
            continue
        step_y, step_x = (grid.ravel().astype(np.float32) for grid in np.mgrid[0:largest, 0:largest])
        at_x, at_y = (edge[some, None].astype(np.float32) for edge in (left, top))
        dx, dy = at_x - bx[some, None] + step_x, at_y - by[some, None] + step_y
        at_a = a_x[some, None] * dx + a_y[some, None] * dy
        at_c = c_x[some, None] * dx + c_y[some, None] * dy
        inside = (at_a >= -_SEAM) & (at_c >= -_SEAM) & (at_a + at_c <= 1 + _SEAM)
        inside &= (step_x <= width - 1 - at_x) & (step_y <= height - 1 - at_y)
        tri, cell = np.nonzero(inside)
        here = top[some][tri] * np.int32(width) + left[some][tri]
        pixels = here + (np.int32(width) * step_y + step_x).astype(np.int32)[cell]
        found.append((pixels, facing[some][tri], at_a[inside], at_c[inside]))
    if not found:
        none = np.zeros((3, 0), np.int32)
        return Hits(none[0], none, none.astype(np.float32))
    pixels, faces, at_a, at_c = (np.concatenate(part) for part in zip(*found, strict=True))
    corners = triangles.T[:, faces].astype(np.int32)
    shares = np.stack([at_a, 1 - at_a - at_c, at_c]).astype(np.float32)
    a, b, c = depth.astype(np.float32)[corners] * shares
    z = a + b + c
    # an index assigned several times keeps its last value: assign from far to near. Sixteen bits of depth
    # are plenty for one head, and numpy sorts them by counting.
    level = ((z - z.min()) * (65535.0 / max(float(np.ptp(z)), 1e-9))).astype(np.uint16)
    order = np.argsort(level, kind="stable")
    nearest = np.full(width * height, -1, np.int64)
    nearest[pixels[order]] = order
    kept = nearest[nearest >= 0]
    return Hits(pixels[kept], corners[:, kept], shares[:, kept])
