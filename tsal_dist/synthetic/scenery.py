"""All that is not the face: the ground behind it, the body below it, things that pass before it."""

from dataclasses import dataclass

import cv2
import numpy as np

from tsal_dist.canvas import Picture, curve, disc, fill, rgb, stroke
from tsal_dist.synthetic.camera import Lamp
from tsal_dist.synthetic.look import Look
from tsal_dist.synthetic.motion import wander
from tsal_dist.synthetic.noise import soft_noise
from tsal_dist.synthetic.shape import Array


@dataclass(frozen=True)
class Ground:
    """A cluttered wall, wider than the frame, that the camera pans over."""

    wall: Picture
    shift: Array
    """T x 2, where the frame's corner is on the wall."""
    zoom: Array

    @staticmethod
    def draw(rng: np.random.Generator, size_px: int, frames: int) -> "Ground":
        span = int(1.6 * size_px)
        tint = rng.uniform(30, 215, 3)
        cloud = [soft_noise(rng, span, span, (3, 7, 17, 40)) for _ in range(2)]
        wall = tint + rng.uniform(10, 55) * cloud[0][..., None] + rng.normal(0, 26, 3) * cloud[1][..., None]
        if rng.random() < 0.5:
            ramp = np.linspace(-1, 1, span)
            wall += rng.uniform(-50, 50) * (ramp[:, None] if rng.random() < 0.5 else ramp[None])[..., None]
        picture = np.clip(wall, 0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(4, 26))):
            _clutter(rng, picture)
        blur = rng.uniform(0.0, 3.0) * size_px / 160
        if blur > 0.3:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
        room = 0.27 * size_px
        shift = room * (1.0 + 0.8 * np.stack([wander(rng, frames, 20.0) for _ in range(2)], 1))
        return Ground(picture, shift, 1.0 + 0.06 * wander(rng, frames, 24.0))

    def frame(self, t: int, size_px: int) -> Picture:
        zoom, (x, y) = float(self.zoom[t]), self.shift[t]
        matrix = np.array([[zoom, 0, x], [0, zoom, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(
                self.wall, matrix, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101
            ),
            np.uint8,
        )


def _clutter(rng: np.random.Generator, picture: Picture) -> None:
    """One more thing on the wall."""
    span = picture.shape[0]
    at, color = rng.uniform(0, span, 2), rng.uniform(0, 255, 3)
    color = color.mean() + (color - color.mean()) * rng.beta(1.0, 1.6)  # most things are greyish
    size = span * rng.uniform(0.02, 0.22, 2)
    kind = rng.integers(5)
    if kind == 0:
        disc(picture, at, (size[0], size[1]), color, float(rng.uniform(0, 180)))
    elif kind == 1:
        stroke(picture, curve(rng.uniform(0, span, (4, 2))), color, rng.uniform(1, 0.03 * span))
    elif kind == 2:
        fill(picture, at + size * rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)), color)
    else:
        box = at + size * ((-1, -1), (1, -1), (1, 1), (-1, 1))
        fill(picture, box, color)
        for k in range(int(rng.integers(0, 5))):  # shelves, window bars
            row = at + size * np.array([(-1, -0.8 + 0.4 * k), (1, -0.8 + 0.4 * k)])
            stroke(picture, row, color * 0.6, 0.006 * span)


@dataclass(frozen=True)
class Body:
    """Neck and shoulders: they carry the head, and turn less than it does."""

    look: Look
    lean: Array
    """T: the body's place beside the head, head units."""
    stripes: bool
    collar: float

    @staticmethod
    def draw(rng: np.random.Generator, look: Look, frames: int) -> "Body":
        lean = rng.uniform(-0.15, 0.15) + 0.12 * wander(rng, frames, 22.0)
        return Body(look, lean, bool(rng.random() < 0.3), float(rng.uniform(0.2, 0.75)))

    def paint(self, picture: Picture, t: int, unit_px: float, jaw: Array, nape: Array, lamp: Lamp) -> None:
        """jaw, nape: where the chin's underside and the skull's base are in the picture."""
        base = np.array([0.75 * nape[0] + 0.25 * jaw[0] + self.lean[t] * unit_px, nape[1] + 1.15 * unit_px])
        shoulder = np.array(
            [(-2.35, 3.2), (-2.2, 0.75), (-1.75, 0.33), (-0.75, -0.02), (0.75, -0.02), (1.75, 0.33), (2.2, 0.75), (2.35, 3.2)]
        )  # fmt: skip
        cloth = lamp.on(self.look.cloth, np.array([0.0, -0.45, 0.89]))
        fill(picture, base + unit_px * curve(shoulder), cloth)
        if self.stripes:
            for x in np.linspace(-1.9, 1.9, 9):
                line = base + unit_px * np.array([(0.75 * x, 0.1 + 0.12 * x * x), (x, 3.0)])
                stroke(picture, line, cloth * 0.62, 0.09 * unit_px)
        for s in (-1, 1):  # folds at the arms
            fold = base + unit_px * curve(np.array([(s * 1.5, 0.9), (s * 1.42, 1.6), (s * 1.5, 2.6)]))
            stroke(picture, fold, cloth * 0.7, 0.06 * unit_px)
        # the neck is a cylinder in the chin's shadow; one strip for each direction of its skin
        edge = np.linspace(-1.0, 1.0, 17)
        across, lap = np.array([1.0, 0.0]) * unit_px, (0.06 * unit_px, 0.0)  # strips overlap: no seams
        for left, right in zip(edge[:-1], edge[1:], strict=True):
            x = 0.5 * (left + right)
            skin = lamp.on(self.look.skin * 0.74, np.array([x, 0.2, np.sqrt(1 - x * x)]))
            top_l, top_r = nape + 0.62 * left * across, nape + 0.62 * right * across
            low_l, low_r = base + 0.72 * left * across, base + 0.72 * right * across
            low_l = low_l + (0, 0.22 * unit_px * (1 - left * left))
            low_r = low_r + (0, 0.22 * unit_px * (1 - right * right))
            fill(picture, np.array([top_l, top_r + lap, low_r + lap, low_l]), skin)
        throat = np.array([(-0.66, -0.02), (0.0, self.collar + 0.1), (0.66, -0.02)])
        fill(picture, base + unit_px * throat, lamp.on(self.look.skin * 0.8, np.array([0, -0.2, 0.98])))
        stroke(picture, base + unit_px * throat, cloth * 0.75, 0.07 * unit_px)


@dataclass(frozen=True)
class Passerby:
    """Something between the camera and the face."""

    kind: str
    """hand, bar, box or ball."""
    place: Array
    """T x 2, from the face's middle, head units."""
    angle_deg: Array
    size: float
    color: Array

    @staticmethod
    def draw_some(rng: np.random.Generator, look: Look, frames: int) -> list["Passerby"]:
        """None in most clips, one or two in the others."""
        count = int(rng.choice([0, 1, 2], p=[0.52, 0.38, 0.10]))
        some = []
        for _ in range(count):
            kind = str(rng.choice(["hand", "bar", "box", "ball"], p=[0.4, 0.22, 0.23, 0.15]))
            here = rng.uniform((-1.2, -0.5), (1.2, 1.7))
            path = here + rng.uniform(0.1, 1.2) * np.stack([wander(rng, frames, 12.0) for _ in "xy"], 1)
            angle = rng.uniform(-60, 60) + 25 * wander(rng, frames, 14.0)
            color = look.skin * rng.uniform(0.85, 1.1) if kind == "hand" else rng.uniform(10, 240, 3)
            size = float(rng.uniform(0.28, 0.55))
            some.append(Passerby(kind, path, angle, size, np.clip(color, 0, 255)))
        return some

    def paint(
        self, picture: Picture, cover: Picture, t: int, middle: Array, unit_px: float, lamp: Lamp
    ) -> None:
        """Draw on the picture, and what it covers on the mask."""
        angle = np.radians(self.angle_deg[t])
        turn = (
            np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * unit_px * self.size
        )
        at = middle + self.place[t] * unit_px
        facing = np.array([0.0, 0.0, 1.0])
        color, dark = lamp.on(self.color, facing), lamp.on(self.color * 0.68, facing)
        if self.kind == "hand":
            self._hand(picture, cover, at, turn, color, dark)
            return
        if self.kind == "ball":
            radius = 0.9 * unit_px * self.size
            disc(cover, at, (radius, radius), (255,))
            for k in range(6):  # lit from where the lamp is
                f = 1.0 - k / 6
                shade = dark + (color - dark) * (k / 5)
                disc(picture, at + lamp.toward[:2] * radius * 0.5 * (1 - f), (radius * f, radius * f), shade)
            return
        half = np.array([0.14, 12.0]) if self.kind == "bar" else np.array([0.95, 1.25])
        box = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ turn + at
        fill(cover, box, (255,))
        fill(picture, box, color)
        inner = half * (0.45, 1.0) if self.kind == "bar" else half * (0.8, 0.55)
        fill(picture, inner * np.array([(-1, -1), (0.2, -1), (0.2, 1), (-1, 1)]) @ turn + at, dark)

    def _hand(
        self, picture: Picture, cover: Picture, at: Array, turn: Array, color: Array, dark: Array
    ) -> None:
        """A palm on its arm, four fingers and a thumb."""
        width = float(np.hypot(*turn[0]))
        palm = np.array(
            [(-0.62, 0.9), (-0.7, 0.1), (-0.6, -0.35), (0.0, -0.48), (0.6, -0.35), (0.66, 0.2), (0.52, 0.9)]
        )
        arm = np.array([(-0.5, 0.6), (0.42, 0.6), (0.62, 9.0), (-0.7, 9.0)]) @ turn + at
        fingers = [np.array([(x, -0.2), (1.08 * x, -0.9), (1.18 * x, tip)]) for x, tip in
                   ((-0.47, -1.35), (-0.16, -1.6), (0.16, -1.52), (0.47, -1.25))]  # fmt: skip
        fingers.append(np.array([(-0.5, 0.5), (-0.95, 0.05), (-1.1, -0.4)]))
        for pane, body, rim in ((cover, (255.0,), (255.0,)), (picture, rgb(color), rgb(dark))):
            fill(pane, arm, body)
            fill(pane, curve(palm, closed=True) @ turn + at, body)
            for finger in fingers:
                path = curve(finger) @ turn + at
                stroke(pane, path, rim, 0.33 * width)
                stroke(pane, path, body, 0.27 * width)
