"""From a head's own frame to the picture, and from clean pictures to those that a camera gives."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture, stroke
from tsal_dist.synthetic.shape import Array

_PIVOT = np.array([0.0, 0.55, 0.10])
"""The head turns about the middle of the skull, at half the face's height."""
_DISTANCE = 9.0
"""From the camera to the pivot, in head units: about 60 cm."""


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """Turn left and right, then nod, then tilt; signs as in `motion`."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ turn)


@dataclass(frozen=True)
class Pose:
    """Where the head is in one frame."""

    turn: Array
    """Rotation, 3 x 3."""
    center_px: Array
    unit_px: float
    """Size of one head unit at the pivot's depth."""

    def project(self, xyz: Array) -> Array:
        """Places of the head in the frame, N x 3: x and y in pixels, z toward us in head units."""
        turned = (xyz - _PIVOT) @ self.turn.T
        near = _DISTANCE / (_DISTANCE - turned[:, 2:])
        return np.concatenate([turned[:, :2] * near * self.unit_px + self.center_px, turned[:, 2:]], 1)


@dataclass(frozen=True)
class Lamp:
    """The light of a clip: one lamp, and what comes from everywhere."""

    toward: Array
    """Unit vector to the lamp."""
    key: Array
    """Colour and strength of the lamp, BGR, 1 is neutral."""
    fill: Array
    gloss: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Lamp":
        side, up = rng.uniform(-1.3, 1.3), rng.uniform(-0.35, 1.0)
        toward = np.array([np.sin(side) * np.cos(up), -np.sin(up), max(np.cos(side) * np.cos(up), 0.15)])
        warmth = rng.normal(0.0, 0.13)
        tint = np.array([np.exp(-warmth), 1.0, np.exp(warmth)])
        ambient = rng.uniform(0.18, 0.62)
        power = rng.uniform(0.70, 1.02) * (1.2 if rng.random() < 0.12 else 1.0)
        power *= 0.55 if rng.random() < 0.15 else 1.0
        # the shadow side has the sky's colour, not the lamp's
        return Lamp(
            toward=toward / np.linalg.norm(toward),
            key=tint * power * (1.12 - ambient) * 1.15,
            fill=power * ambient * np.array([np.exp(0.4 * warmth), 1.0, np.exp(-0.4 * warmth)]),
            gloss=rng.uniform(0.0, 0.35),
        )

    def diffuse(self, normals: Array) -> Array:
        """How much of the lamp skin takes: light creeps a little around the edge."""
        return np.clip((normals @ self.toward + 0.18) / 1.18, 0.0, 1.0)

    def shine(self, normals: Array) -> Array:
        """Gloss toward a viewer in front."""
        half = self.toward + (0.0, 0.0, 1.0)
        return self.gloss * np.clip(normals @ (half / np.linalg.norm(half)), 0.0, 1.0) ** 14

    def on(self, color: Array, normal: Array) -> Array:
        """A colour as it looks on a flat piece facing `normal`."""
        return np.clip(color * (self.fill + self.diffuse(normal) * self.key), 0.0, 255.0)


@dataclass(frozen=True)
class Lens:
    """What this clip's camera does to every picture."""

    blur_sigma_px: float
    smear_px: Array
    """Motion blur: a vector."""
    noise: NDArray[np.int16]
    """A field larger than the frame; each frame sees another part of it."""
    contrast: float
    jpeg_quality: int | None

    @staticmethod
    def draw(rng: np.random.Generator, size_px: int) -> "Lens":
        unit = size_px / 160.0
        strength = rng.uniform(0.5, 3.0) * (2.5 if rng.random() < 0.2 else 1.0)
        noise = rng.normal(0.0, strength, (size_px + 64, size_px + 64, 3))
        blurred, smeared = rng.random(2) < (0.4, 0.2)
        angle = rng.uniform(0, 2 * np.pi)
        return Lens(
            blur_sigma_px=float(rng.uniform(0.4, 1.5) * unit) if blurred else 0.0,
            smear_px=rng.uniform(1.5, 5.0) * unit * smeared * np.array([np.cos(angle), np.sin(angle)]),
            noise=noise.round().astype(np.int16),
            contrast=float(rng.uniform(0.75, 1.15)),
            jpeg_quality=int(rng.integers(18, 60)) if rng.random() < 0.35 else None,
        )

    def take(self, picture: Picture, rng: np.random.Generator, gain: float) -> Picture:
        """The picture as filmed."""
        height, width = picture.shape[:2]
        if self.blur_sigma_px:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.blur_sigma_px), np.uint8)
        reach = float(np.hypot(*self.smear_px))
        if reach:
            size = 2 * int(np.ceil(reach / 2)) + 3
            kernel = np.zeros((size, size), np.uint8)
            ends = np.stack([-self.smear_px, self.smear_px]) / 2 + size // 2
            stroke(kernel, ends, (255,), 1)
            weights = kernel.astype(np.float32) / max(1.0, float(kernel.sum()))
            picture = np.asarray(cv2.filter2D(picture, -1, weights), np.uint8)
        left, top = (int(v) for v in rng.integers(0, 64, 2))
        grain = self.noise[top : top + height, left : left + width]
        lit = (picture.astype(np.float32) - 118.0) * self.contrast + 118.0
        noisy = np.clip(lit * gain + grain, 0, 255).astype(np.uint8)
        if self.jpeg_quality is None:
            return np.asarray(noisy)
        _, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
