"""What changes from frame to frame: pose, place, expression, lids, gaze, light. Smooth, as film is.

Everything is drawn before the first frame is, so a clip's picture is a pure function of its spec.
"""

from dataclasses import dataclass

import numpy as np

from tsal_dist.synthetic.shape import Array, Expression

MAX_YAW_DEG = 45.0
MAX_PITCH_DEG = 25.0
MAX_ROLL_DEG = 25.0


@dataclass(frozen=True)
class Motion:
    """One clip's movements, first axis T. Angles in degrees; places and sizes in shares of the frame."""

    yaw: Array
    """Positive turns the face to the picture's right."""
    pitch: Array
    """Positive lowers the chin."""
    roll: Array
    """Positive tilts the head clockwise in the picture."""
    center: Array
    """T x 2: where the middle of the face is."""
    half_width: Array
    """Half of the head's width."""
    open: Array
    smile: Array
    pucker: Array
    brows: Array
    blink: Array
    """T x 2: image-left eye, image-right eye."""
    gaze: Array
    """T x 2, in -1..1: right and down."""
    gain: Array
    """Brightness of the light."""

    def expression(self, t: int) -> Expression:
        return Expression(
            open=float(self.open[t]),
            smile=float(self.smile[t]),
            pucker=float(self.pucker[t]),
            brows=float(self.brows[t]),
            blink=(float(self.blink[t, 0]), float(self.blink[t, 1])),
        )


def wander(rng: np.random.Generator, frames: int, period: float) -> Array:
    """A smooth random path within -1..1 that changes its mind about every `period` frames."""
    knots = rng.uniform(-1.0, 1.0, int(np.ceil(frames / period)) + 4)
    at = np.arange(frames) / period + rng.uniform(0.0, 1.0) * min(1.0, 1.0 / period)
    i = at.astype(int)
    f = at - i
    # cubic B-spline: smooth to the second derivative; it shrinks its knots, 1.4 gives the range back
    weights = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    path = sum(w * knots[i + k] for k, w in enumerate(weights)) / 6.0
    return np.clip(1.4 * np.asarray(path), -1.0, 1.0)


def _blinks(rng: np.random.Generator, frames: int) -> Array:
    """Lids shut for a moment every second or two, eyes together; now and then one eye alone."""
    blink = np.zeros((frames, 2))
    t = rng.uniform(-10.0, 25.0)
    while t < frames + 4:
        length = rng.uniform(2.2, 4.0)
        lids = (1.0, 1.0) if rng.random() < 0.92 else ((1.0, 0.1), (0.1, 1.0))[int(rng.integers(2))]
        pulse = np.exp(-(((np.arange(frames) - t) / length) ** 2))
        blink = np.maximum(blink, pulse[:, None] * lids)
        t += rng.uniform(14.0, 50.0)
    # lids follow mood and light: half closed, or wide open
    droop = 0.18 + 0.22 * wander(rng, frames, 20.0)
    return np.clip(np.maximum(blink, droop[:, None]), 0.0, 1.0)


def draw_motion(rng: np.random.Generator, frames: int) -> Motion:
    """Draw one clip's movements."""

    def swing(limit: float, base: float, travel: float, period: float) -> Array:
        path = rng.uniform(-base, base) + rng.uniform(0.3, 1.0) * travel * wander(rng, frames, period)
        # slows down toward the limit, which only the farthest path reaches
        return np.asarray(limit * np.tanh(path / limit) / np.tanh((base + travel) / limit))

    half_width = rng.uniform(0.20, 0.31) * (1.0 + 0.10 * wander(rng, frames, 22.0))
    room = np.maximum(0.5 - 1.45 * half_width, 0.0)[:, None]
    wish = np.stack([wander(rng, frames, 14.0) * 0.5 + rng.uniform(-0.7, 0.7) for _ in range(2)], 1)
    shake = np.stack([wander(rng, frames, 4.0) for _ in range(2)], 1) * rng.uniform(0.0, 0.012)
    talk = 0.5 + 0.5 * wander(rng, frames, 4.0)
    agape = rng.uniform(0.0, 1.0) * np.clip(wander(rng, frames, 12.0), 0.0, 1.0)
    return Motion(
        yaw=swing(MAX_YAW_DEG, 34.0, 36.0, 14.0),
        pitch=swing(MAX_PITCH_DEG, 14.0, 20.0, 14.0),
        roll=swing(MAX_ROLL_DEG, 16.0, 22.0, 16.0),
        center=0.5 + np.clip(wish, -1.0, 1.0) * room + shake,
        half_width=half_width,
        open=np.clip(agape + rng.choice([0.0, 0.4]) * talk * rng.uniform(0.4, 1.0), 0.0, 1.0),
        smile=np.clip(rng.uniform(-0.5, 0.8) + 0.7 * wander(rng, frames, 14.0), -0.5, 1.0),
        pucker=rng.uniform(0.0, 0.9) * np.clip(wander(rng, frames, 9.0), 0.0, 1.0),
        brows=np.clip(rng.uniform(-0.5, 0.5) + 0.8 * wander(rng, frames, 10.0), -0.8, 1.0),
        blink=_blinks(rng, frames),
        gaze=np.stack([wander(rng, frames, 9.0), 0.6 * wander(rng, frames, 12.0)], 1),
        gain=1.0 + rng.uniform(0.0, 0.18) * wander(rng, frames, 10.0),
    )
