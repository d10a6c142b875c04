"""The picture that the head's mesh wears: skin, stubble, shadows in the folds, hair on the skull.

Painted once per clip in the plane of the surface's uv, where x and y are the head's own; it moves and
stretches with the mesh. What moves by itself (lids, lips, brows) is painted per frame by `features`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture
from tsal_dist.synthetic.look import Look
from tsal_dist.synthetic.noise import soft_noise
from tsal_dist.synthetic.shape import Array

LEFT, TOP, RIGHT, BOTTOM = -1.7, -2.0, 1.7, 2.3


@dataclass(frozen=True)
class Skin:
    """A texture and how dense it is."""

    texture: Picture
    px_per_unit: float

    def places(self, uv: Array) -> NDArray[np.float32]:
        """Where on the texture places of the head are, as pixel centres."""
        return np.asarray((uv - (LEFT, TOP)) * self.px_per_unit - 0.5, np.float32)


def _ramp(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def hair_depth(xy: Array, look: Look) -> Array:
    """How far inside the hair places are, in head units; negative on bare skin. xy: ... x 2."""
    x, y = xy[..., 0], xy[..., 1]
    side = np.abs(x)
    top = -(1.75 if look.hair_style == "bald" else look.hairline - look.fringe)
    temple = (0.02 - top) * _ramp(side, 0.74, 0.99)
    nape = (0.95 if look.hair_style == "long" else 0.45) * _ramp(side, 1.01, 1.06)
    parting = 0.10 * np.exp(-(((x - look.parting) / 0.22) ** 2)) * (look.fringe > 0)
    return np.asarray(top + temple + nape - parting - y)


def _strands(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Noise drawn out along lines from the crown, in -1..1."""
    height, width = 96, 720
    noise = soft_noise(rng, height, width, (6,)) * 0.5
    fine = rng.uniform(-1.0, 1.0, (5, width)).astype(np.float32)
    noise += 0.8 * cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR)
    angle = np.arctan2(y + 0.95, x) / (2 * np.pi) + 0.5
    radius = np.hypot(x, y + 0.95) / 3.2
    at_x = (angle * (width - 1)).astype(np.float32)
    at_y = (np.clip(radius, 0, 1) * (height - 1)).astype(np.float32)
    return np.asarray(cv2.remap(noise.astype(np.float32), at_x, at_y, cv2.INTER_LINEAR), np.float64)


def paint_skin(rng: np.random.Generator, look: Look, rest: Array, px_per_unit: float) -> Skin:
    """Paint one person's texture. rest: the 68 points at rest."""
    width, height = (int(round(span * px_per_unit)) for span in (RIGHT - LEFT, BOTTOM - TOP))
    x, y = np.meshgrid(
        LEFT + (np.arange(width) + 0.5) / px_per_unit, TOP + (np.arange(height) + 0.5) / px_per_unit
    )

    def bump(cx: float, cy: float, sx: float, sy: float) -> Array:
        return np.asarray(np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2))

    tone = 1.0 + 0.06 * soft_noise(rng, height, width, (5, 12, 30)) + 0.035 * rng.normal(size=(height, width))
    color = look.skin[None, None] * tone[..., None]

    # blood shows at cheeks, nose and chin
    lip_y, base_y = float(rest[[48, 54], 1].mean()), float(rest[33, 1])
    flush = sum(bump(s * 0.58, 0.50, 0.26, 0.20) for s in (-1, 1)) + 0.7 * bump(0, base_y - 0.12, 0.15, 0.12)
    flush = (flush + 0.4 * bump(0, lip_y + 0.42, 0.2, 0.12)) * (0.05 + 0.10 * look.makeup)
    color = color * (1.0 + flush[..., None] * (-0.9, -0.8, 0.35))

    # light hardly reaches the folds: at the nose, under the brows, beside and under the mouth
    fold = 0.0 * x
    for s, eye in ((-1, rest[36:42]), (1, rest[42:48])):
        ex, ey = eye.mean(0)
        fold += 0.26 * bump(ex - s * 0.23, ey - 0.02, 0.10, 0.13) + 0.10 * bump(ex, ey - 0.13, 0.26, 0.07)
        fold += (0.10 + 0.12 * look.wrinkles) * bump(ex - s * 0.03, ey + 0.16, 0.20, 0.055)
        wing = float(np.abs(rest[[31, 35], 0]).mean())
        fold += 0.30 * bump(s * (wing + 0.03), base_y - 0.08, 0.035, 0.10)
        # from the nose's wing to the mouth's corner
        along = wing + 0.08 + (y - base_y + 0.05) * 0.62
        line = np.exp(-(((x - s * along) / 0.035) ** 2)) * _ramp(y, base_y - 0.1, base_y)
        fold += (0.06 + 0.16 * look.wrinkles) * line * (1 - _ramp(y, lip_y - 0.05, lip_y + 0.15))
    fold += 0.20 * bump(0, base_y + 0.035, 0.17, 0.045) + 0.16 * bump(0, lip_y + 0.255, 0.22, 0.045)
    fold += 0.16 * look.wrinkles * bump(0, -0.62, 0.5, 0.02) + 0.16 * look.wrinkles * bump(
        0, -0.74, 0.4, 0.02
    )
    color *= 1.0 - np.clip(fold, 0, 0.6)[..., None] * (1.0, 0.95, 0.8)

    if look.freckles:
        spots = cv2.GaussianBlur((rng.random((height, width)) > 0.965).astype(np.float32), (0, 0), 0.7)
        where = bump(0, 0.38, 0.7, 0.28)
        color *= 1.0 - (np.clip(spots * 1.6, 0, 0.6) * where * look.freckles)[..., None] * (1.0, 0.9, 0.6)

    strands = _strands(rng, x, y)
    bristle = np.clip(0.8 + 0.35 * rng.normal(size=(height, width)), 0.2, 1.3)
    if look.beard or look.moustache:
        mouth = bump(0, lip_y + 0.03, 0.34, 0.115)
        chin = _ramp(y + 0.42 * np.abs(x) ** 2.2, base_y + 0.22, base_y + 0.42) * (1 - mouth)
        upper = bump(0, base_y + 0.115, 0.36, 0.065) * (y > base_y + 0.02)
        beard = np.clip(look.beard * chin * (1 - _ramp(np.abs(x), 0.95, 1.1) * (y < 0.4)), 0, 1)
        cover = np.clip(np.maximum(beard, look.moustache * upper) * bristle, 0, 0.92)
        color += cover[..., None] * (look.hair * (0.85 + 0.2 * strands[..., None]) - color)

    inside = hair_depth(np.dstack([x, y]), look)
    frayed = inside + (0.0 if look.hair_style == "cap" else 0.07) * strands
    cover = _ramp(frayed, -0.02, 0.05) * (0.45 if look.hair_style == "bald" else 1.0)
    worn = look.cloth if look.hair_style == "cap" else look.hair
    lively = 0.05 if look.hair_style == "cap" else 0.42
    shade = (1.0 + lively * strands) * (0.75 + 0.25 * _ramp(inside, 0.0, 0.25))
    color += cover[..., None] * (worn * shade[..., None] - color)
    return Skin(np.clip(color, 0, 255).astype(np.uint8), px_per_unit)
