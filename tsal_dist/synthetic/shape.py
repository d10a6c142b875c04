"""The 68 points of a head: where they lie on an average face, how people differ, how a face moves.

A head's own frame: x to the picture's right when the head looks at us (so the subject's right is negative x),
y down, z toward us; the unit is half the width of an average face at the ears, about 7 cm, and the eyes lie on
y = 0. Points are in the order of 300W (iBUG-68). Everything here is flat, x and y; `surface` gives the depth.

An expression moves points by smooth functions of where they are, so that the skin between them, which is
moved by the same functions, stays attached to them. Only the lips part: their points say to which lip they
belong.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.geometry.flip import FLIP_68

Array = NDArray[np.float64]

JAW = slice(0, 17)
BROWS = (slice(17, 22), slice(22, 27))
NOSE_BASE = slice(31, 36)
EYES = (slice(36, 42), slice(42, 48))
MOUTH = slice(48, 68)
OUTER_LIPS = slice(48, 60)
INNER_LIPS = slice(60, 68)
UPPER_LIDS = ((37, 38), (43, 44))
LOWER_LIDS = ((41, 40), (47, 46))  # each below its upper lid's point

_RIGHT_HALF = {
    # jaw, ear to chin
    0: (-1.00, -0.02), 1: (-0.995, 0.26), 2: (-0.965, 0.53), 3: (-0.91, 0.80), 4: (-0.79, 1.06),
    5: (-0.61, 1.27), 6: (-0.41, 1.43), 7: (-0.21, 1.53), 8: (0.0, 1.56),
    # brow, from the temple to the nose
    17: (-0.82, -0.25), 18: (-0.69, -0.37), 19: (-0.51, -0.41), 20: (-0.33, -0.37), 21: (-0.17, -0.30),
    # bridge and base of the nose
    27: (0.0, -0.01), 28: (0.0, 0.17), 29: (0.0, 0.35), 30: (0.0, 0.53),
    31: (-0.20, 0.63), 32: (-0.105, 0.665), 33: (0.0, 0.69),
    # eye: outer corner, upper lid, inner corner, lower lid
    36: (-0.645, 0.00), 37: (-0.53, -0.085), 38: (-0.37, -0.08), 39: (-0.25, 0.025),
    40: (-0.365, 0.07), 41: (-0.52, 0.07),
    # outer lips above and below, inner lips
    48: (-0.38, 1.00), 49: (-0.24, 0.925), 50: (-0.085, 0.885), 51: (0.0, 0.905),
    57: (0.0, 1.165), 58: (-0.105, 1.155), 59: (-0.24, 1.105),
    60: (-0.33, 1.00), 61: (-0.11, 0.985), 62: (0.0, 0.99), 66: (0.0, 1.0), 67: (-0.11, 0.997),
}  # fmt: skip


def mean_points() -> Array:
    """The average face, 68 x 2."""
    points = np.zeros((68, 2))
    for index, (x, y) in _RIGHT_HALF.items():
        points[index] = x, y
        if FLIP_68[index] != index:  # a point in the middle stays at 0, and not at -0
            points[FLIP_68[index]] = -x, y
    return points


def _spread(rng: np.random.Generator, sigma: float) -> float:
    """A person's deviation from the mean: normal, without the freaks."""
    return float(np.clip(rng.normal(0.0, sigma), -2.0 * sigma, 2.0 * sigma))


def _turned(points: Array, degrees: float, scale: tuple[float, float]) -> Array:
    """Points scaled, then rotated, about their own centre."""
    centre = points.mean(0)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned: Array = (points - centre) * scale @ np.array([[c, s], [-s, c]]) + centre
    return turned


def person_points(rng: np.random.Generator) -> Array:
    """One person's face at rest, 68 x 2: every part has its own size and place."""
    p = mean_points()
    # the outline: narrow or square, long or short in the chin, more or less full in the cheeks
    t = np.linspace(-1.0, 1.0, 17)
    p[JAW, 0] *= 1.0 + _spread(rng, 0.07) * np.exp(-(((np.abs(t) - 0.55) / 0.25) ** 2))
    p[JAW, 0] *= 1.0 + _spread(rng, 0.16) * np.exp(-((t / 0.22) ** 2))
    p[JAW, 1] += _spread(rng, 0.07) * np.exp(-((t / 0.45) ** 2))

    eye_scale = 1.0 + _spread(rng, 0.08), 1.0 + _spread(rng, 0.22)
    eye_tilt, apart, raised = _spread(rng, 3.5), _spread(rng, 0.03), _spread(rng, 0.02)
    brow_scale = 1.0 + _spread(rng, 0.06), 1.0 + _spread(rng, 0.3)
    brow_tilt, brow_up = _spread(rng, 4.5), _spread(rng, 0.04)
    for sign, eye, brow in zip((-1, 1), EYES, BROWS, strict=True):
        p[eye] = _turned(p[eye], -sign * eye_tilt, eye_scale) + (sign * apart, raised)
        p[brow] = _turned(p[brow], -sign * brow_tilt, brow_scale) + (sign * apart, brow_up + raised)

    nose_length, nose_width = 1.0 + _spread(rng, 0.08), 1.0 + _spread(rng, 0.14)
    p[27:36, 1] *= nose_length
    p[NOSE_BASE, 0] *= nose_width

    lip_line = p[60, 1]
    below = p[MOUTH, 1] > lip_line
    p[MOUTH, 0] *= 1.0 + _spread(rng, 0.10)
    thickness = np.where(below, 1.0 + _spread(rng, 0.25), 1.0 + _spread(rng, 0.25))
    p[MOUTH, 1] = lip_line + (p[MOUTH, 1] - lip_line) * thickness
    p[MOUTH, 1] += _spread(rng, 0.03) + 0.5 * (p[33, 1] - 0.69)

    # the whole: width against length, and no face is quite symmetric
    p *= 1.0 + _spread(rng, 0.05), 1.0 + _spread(rng, 0.05)
    p[17:] += np.clip(rng.normal(0.0, 0.006, (51, 2)), -0.012, 0.012)
    return p


@dataclass(frozen=True)
class Expression:
    """How far each movement has gone; 0 is rest."""

    open: float = 0.0
    """Jaw lowered: 1 is a wide open mouth."""
    smile: float = 0.0
    """Corners of the mouth out and up; negative is a frown."""
    pucker: float = 0.0
    """Lips pushed together."""
    brows: float = 0.0
    """Brows up; negative is drawn down and together."""
    blink: tuple[float, float] = (0.0, 0.0)
    """Each eye's lids closed: 1 is shut."""


def _step(x: Array, at: float, width: float) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-(x - at) / width)))


def _bump(xy: Array, x: float, y: float, width: float, height: float) -> Array:
    return np.asarray(np.exp(-(((xy[:, 0] - x) / width) ** 2) - ((xy[:, 1] - y) / height) ** 2))


def moved(rest: Array, xyz: Array, lower: Array, e: Expression) -> Array:
    """Where an expression takes the places `xyz`, N x 3, of the face whose points at rest are `rest`.

    lower: for each place, 0 where the upper lip takes it, 1 where the jaw does (`lower_share`).
    """
    out, xy = xyz.copy(), xyz[:, :2]
    corner_x, lip_y = float(np.abs(rest[[48, 54], 0]).mean()), float(rest[[48, 54], 1].mean())
    near_mouth = _bump(xy, 0.0, lip_y, 1.35 * corner_x, 0.32)

    # the jaw turns about the ears: what is far below them goes down and back most
    swing = e.open * lower * np.clip((xy[:, 1] + 0.1) / (lip_y + 0.1), 0.0, 1.4)
    out[:, 1] += 0.34 * swing
    out[:, 2] -= 0.12 * swing
    out[:, 0] *= 1.0 - 0.10 * e.open * near_mouth

    corners = sum(_bump(xy, side * corner_x, lip_y, 0.22, 0.16) for side in (-1, 1))
    cheeks = sum(_bump(xy, side * 0.62, 0.45, 0.3, 0.25) for side in (-1, 1))
    out[:, 1] -= e.smile * (0.11 * corners + 0.04 * cheeks)
    out[:, 0] *= 1.0 + (0.20 * e.smile - 0.26 * e.pucker) * near_mouth
    out[:, 2] += (0.08 * e.pucker - 0.05 * e.smile) * near_mouth
    out[:, 1] += (e.pucker * 0.22) * near_mouth * (xy[:, 1] - lip_y)

    forehead = sum(_bump(xy, side * 0.5, -0.36, 0.42, 0.22) for side in (-1, 1))
    out[:, 1] -= 0.13 * e.brows * forehead
    if e.brows < 0:
        out[:, 0] *= 1.0 + 0.10 * e.brows * _bump(xy, 0.0, -0.32, 0.35, 0.15)
    return out


def lower_share(rest: Array, xy: Array) -> Array:
    """How much of the jaw's movement skin at `xy` takes: none above the lips, all below, part at the cheeks."""
    lip_y = float(rest[[48, 54], 1].mean())
    # far from the mouth the skin is stretched over a long way, beside the lips over a short one
    width = 0.05 + 0.16 * np.clip(np.abs(xy[:, 0]) / 0.6, 0.0, 1.0)
    return _step((xy[:, 1] - lip_y) / width, 0.0, 1.0)


def point_lower_share(rest: Array) -> Array:
    """`lower_share` of the 68 points themselves; the lips' points belong to one lip, the corners to both."""
    share = lower_share(rest, rest)
    share[[49, 50, 51, 52, 53, 61, 62, 63]] = 0.0
    share[[55, 56, 57, 58, 59, 65, 66, 67]] = 1.0
    share[[48, 54, 60, 64]] = 0.42
    share[17:48] = 0.0
    return share


def with_lids(points: Array, blink: tuple[float, float]) -> Array:
    """Lower the upper lids onto the lower ones; the lower ones rise a little to meet them."""
    out = points.copy()
    for upper, lower, shut in zip(UPPER_LIDS, LOWER_LIDS, blink, strict=True):
        for u, v in zip(upper, lower, strict=True):
            gap = points[v] - points[u]
            out[u] += 0.80 * shut * gap
            out[v] -= 0.12 * shut * gap
    return out
