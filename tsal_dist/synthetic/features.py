"""What moves by itself on a face: eyes with lids and gaze, brows, lips, teeth, nostrils.

Painted per frame in the plane of the head's own x and y after the expression has moved it, exactly through the
68 points as moved; the mesh then takes the layer along. Colours are multiplied by their coverage, so that
layers blend and blur without dark rims.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture, curve, disc, fill, fixed, rgb, stroke
from tsal_dist.synthetic.look import Look
from tsal_dist.synthetic.shape import BROWS, EYES, Array

LEFT, TOP, RIGHT, BOTTOM = -1.1, -0.85, 1.1, 1.75


def places(xy: Array, px_per_unit: float) -> Array:
    """Where on the layer places of the head are, as pixel centres."""
    return np.asarray((xy - (LEFT, TOP)) * px_per_unit - 0.5)


@dataclass(frozen=True)
class Features:
    """One person's features, ready to be painted for any frame."""

    look: Look
    px_per_unit: float
    brow_hairs: Array
    """Hairs x 4: place along the brow, place across it, lean, length."""
    tooth_tone: float

    @staticmethod
    def draw(rng: np.random.Generator, look: Look, px_per_unit: float) -> "Features":
        hairs = int(40 + 40 * look.brow_weight)
        along, across = rng.uniform(0.0, 1.0, hairs), rng.uniform(-1.0, 1.0, hairs)
        lean, length = rng.uniform(0.25, 1.0, hairs), rng.uniform(0.5, 1.2, hairs)
        return Features(look, px_per_unit, np.stack([along, across, lean, length], 1), rng.uniform(0.8, 1.0))

    def paint(self, points: Array, blink: tuple[float, float], gaze: Array) -> Picture:
        """The layer, BGRA. points: 68 x 2 as moved."""
        p = self.px_per_unit
        layer = np.zeros((int(round((BOTTOM - TOP) * p)), int(round((RIGHT - LEFT) * p)), 4), np.uint8)
        at = places(points, p)
        self._nostrils(layer, at)
        for eye, shut in zip(EYES, blink, strict=True):
            self._lids(layer, at[eye], shut)
        for brow, side in zip(BROWS, (-1, 1), strict=True):
            self._brow(layer, at[brow], side)
        self._mouth(layer, at)
        # one soft touch over all: skin has no outlines
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.006 * p))
        for eye, shut in zip(EYES, blink, strict=True):
            self._eye(layer, at[eye], shut, gaze)
        return layer

    def _skin(self, share: float, cover: float) -> tuple[float, ...]:
        """Skin at a share of its brightness, covering that much of what is below."""
        return (*rgb(self.look.skin * share * cover), 255.0 * cover)

    def _nostrils(self, layer: Picture, at: Array) -> None:
        p = self.px_per_unit
        for side, (outer, inner) in ((-1, (31, 32)), (1, (35, 34))):
            hole = 0.40 * at[outer] + 0.60 * at[inner] + (0.0, -0.022 * p)
            disc(layer, hole, (0.058 * p, 0.026 * p), self._skin(0.30, 0.9), -side * 18)
        base = curve(at[31:36])
        stroke(layer, base + (0, 0.01 * p), self._skin(0.55, 0.30), 0.018 * p)

    def _lids(self, layer: Picture, eye: Array, shut: float) -> None:
        """Skin of the lids: the fold above, the shadow of make-up, the rim below."""
        p, look = self.px_per_unit, self.look
        upper = curve(eye[[0, 1, 2, 3]])
        lift = np.sin(np.linspace(0, np.pi, len(upper)))[:, None] * (0.0, -0.075 * p)
        if look.makeup:
            fill(layer, np.vstack([upper, (upper + 1.2 * lift)[::-1]]), self._skin(0.6, 0.6 * look.makeup))
        stroke(layer, (upper + lift * (1 - 0.4 * shut))[2:-2], self._skin(0.55, 0.45), 0.022 * p)
        lower = curve(eye[[0, 5, 4, 3]])
        stroke(layer, lower + (0, 0.02 * p), self._skin(0.72, 0.5), 0.022 * p)

    def _eye(self, layer: Picture, eye: Array, shut: float, gaze: Array) -> None:
        """Ball, iris, pupil and glint, cut by the lids; then the lashes."""
        p, look = self.px_per_unit, self.look
        outline = curve(eye, closed=True)
        low = np.floor(outline.min(0)).astype(int) - 3
        high = np.ceil(outline.max(0)).astype(int) + 4
        window = layer[low[1] : high[1], low[0] : high[0]]
        ball = np.empty_like(window)
        ball[:] = (*rgb(np.array([216.0, 218, 222]) * (0.75 + 0.25 * look.skin[2] / 255)), 255)
        outline_here = outline - low
        # the ball does not follow the lids: its centre lies between the corners
        corners = 0.5 * (eye[0] + eye[3]) - low
        span = float(np.hypot(*(eye[3] - eye[0])))
        center = corners + gaze * (0.20 * span, 0.05 * p) + (0.0, -0.012 * p)
        radius = 0.092 * p
        disc(ball, center, (radius, radius), (*rgb(look.iris * 0.45), 255))
        disc(ball, center, (0.82 * radius, 0.82 * radius), (*rgb(look.iris), 255))
        disc(ball, center, (0.46 * radius, 0.46 * radius), (10, 8, 8, 255))
        disc(ball, center + (-0.035 * p, -0.04 * p), (0.022 * p, 0.022 * p), (245, 245, 245, 255))
        # the upper lid and its lashes shade the ball
        upper = curve(eye[[0, 1, 2, 3]]) - low
        shadow = np.zeros(ball.shape[:2], np.uint8)
        stroke(shadow, upper, (110.0,), 0.075 * p)
        shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), 0.012 * p))
        mask = np.zeros(ball.shape[:2], np.uint8)
        fill(mask, outline_here, (255.0,))
        share = mask[..., None].astype(np.float32) / 255.0
        lit = ball * (1.0 - shadow[..., None].astype(np.float32) / 255.0 * (1, 1, 1, 0))
        window[:] = np.clip(window * (1.0 - share) + lit * share + 0.5, 0, 255).astype(np.uint8)
        # lashes: dark and thick above, hardly there below; tear duct at the nose
        dark = (*rgb(np.minimum(look.hair, 60) * 0.4), 255.0)
        stroke(window, upper, dark, (0.020 + 0.018 * look.makeup + 0.006 * shut) * p)
        lower = curve(eye[[0, 5, 4, 3]]) - low
        stroke(window, lower, self._skin(0.50, 0.8), 0.009 * p)

    def _brow(self, layer: Picture, brow: Array, side: int) -> None:
        p, look = self.px_per_unit, self.look
        spine = curve(brow if side < 0 else brow[::-1])  # from the temple to the nose
        t = np.linspace(0.0, 1.0, len(spine))[:, None]
        half = (0.018 + 0.034 * np.sqrt(t)) * look.brow_weight * p
        half *= np.clip((1.04 - t) * 9.0, 0.4, 1.0)
        color = look.hair * (0.75 if look.hair.mean() > 60 else 1.0)
        band = np.vstack([spine + half * (0, -1), (spine + half * (0, 1))[::-1]])
        fill(layer, band, (*rgb(color * 0.55), 255.0 * 0.55))
        along, across, lean, length = self.brow_hairs.T
        i = along * (len(spine) - 1)
        j = np.minimum(i.astype(int), len(spine) - 2)
        f = (i - j)[:, None]
        thick = half[j, 0] * (1 - f[:, 0]) + half[j + 1, 0] * f[:, 0]
        root = spine[j] * (1 - f) + spine[j + 1] * f
        root = root + np.stack([0 * across, across * thick], 1)
        tip = root + np.stack([side * lean * length, -(1.1 - lean) * length * 0.6], 1) * 0.055 * p
        hairs = np.stack([root, tip], 1)
        cv2.polylines(layer, list(fixed(hairs)), False, (*rgb(color * 0.8), 255.0 * 0.9), 1, cv2.LINE_AA, 4)

    def _mouth(self, layer: Picture, at: Array) -> None:
        p, look = self.px_per_unit, self.look
        outer_up, outer_down = curve(at[48:55]), curve(at[[48, 59, 58, 57, 56, 55, 54]])
        inner_up, inner_down = curve(at[60:65]), curve(at[[60, 67, 66, 65, 64]])
        cover = 0.92

        def lips(share: float) -> tuple[float, ...]:
            return (*rgb(np.clip(look.lips * share, 0, 255) * cover), 255.0 * cover)

        fill(layer, np.vstack([outer_down, inner_down[::-1]]), lips(1.02))
        fill(layer, np.vstack([outer_up, inner_up[::-1]]), lips(0.86))
        # the lower lip catches light, its lower border throws a shadow
        glint = 0.5 * (
            outer_down + inner_down[np.linspace(0, len(inner_down) - 1, len(outer_down)).astype(int)]
        )
        stroke(layer, glint[12:-12], lips(1.16 + 0.15 * look.makeup), 0.035 * p)
        stroke(layer, glint[16:-16], lips(1.26 + 0.2 * look.makeup), 0.016 * p)

        hole = np.vstack([inner_up, inner_down[::-1]])
        fill(layer, hole, (26, 18, 46, 255))
        gap = float((at[66] - at[62])[1]) / p
        if gap > 0.03:
            self._teeth(layer, at, inner_up, inner_down, hole, gap)
        line = (*rgb(look.lips * 0.32), 255.0)
        stroke(layer, inner_up, line, 0.012 * p)
        stroke(layer, np.vstack([at[48], at[60]]), line, 0.012 * p)
        stroke(layer, np.vstack([at[54], at[64]]), line, 0.012 * p)

    def _teeth(
        self, layer: Picture, at: Array, inner_up: Array, inner_down: Array, hole: Array, gap: float
    ) -> None:
        """Upper teeth and the tongue, seen through the mouth's opening."""
        p = self.px_per_unit
        inside: NDArray[np.uint8] = np.zeros(layer.shape[:2], np.uint8)
        fill(inside, hole, (255.0,))
        low, high = hole.min(0).astype(int), hole.max(0).astype(int) + 2
        window = layer[low[1] : high[1], low[0] : high[0]]
        scene = window.copy()
        tongue = 0.5 * (at[66] + at[57]) - low - (0, 0.02 * p)
        if gap > 0.10:
            disc(scene, tongue, (0.20 * p, 0.42 * gap * p), (86, 78, 160, 255))
        tone = (*rgb(np.array([206.0, 220, 228]) * self.tooth_tone), 255.0)
        edge = inner_up + (0, min(0.085, 0.55 * gap + 0.01) * p)
        fill(scene, np.vstack([inner_up, edge[::-1]])[2:-2] - low, tone)
        share = inside[low[1] : high[1], low[0] : high[0], None].astype(np.float32) / 255.0
        window[:] = (window * (1 - share) + scene * share + 0.5).astype(np.uint8)
