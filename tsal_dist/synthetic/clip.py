"""One clip: its pictures and its 68 points, a pure function of a small spec.

    frames, points, visible = render_clip(ClipSpec(seed=1, frames=8, size_px=128))

Points are pixel centres, (0, 0) the middle of the top left pixel, in the order of 300W. They are where a 300W
annotator puts them: eyes, nose, mouth and brows at their place on the skin, also when something hides them; the
jaw on the visible outline of the face when the head's turn hides the jaw itself.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture
from tsal_dist.synthetic.camera import Lamp, Lens, Pose, rotation
from tsal_dist.synthetic.head import Head, Placed
from tsal_dist.synthetic.look import draw_look
from tsal_dist.synthetic.motion import draw_motion
from tsal_dist.synthetic.raster import Hits
from tsal_dist.synthetic.scenery import Body, Ground, Passerby
from tsal_dist.synthetic.shape import JAW, Array


@dataclass(frozen=True)
class ClipSpec:
    """What decides a clip, down to the last bit."""

    seed: int
    clip: int = 0
    """Which clip of that seed: another person, place and story."""
    frames: int = 48
    size_px: int = 160
    away: tuple[int, int] = (0, 0)
    """From the first of these frames to before the second nobody is there: the place alone."""


@dataclass(frozen=True)
class Rendered:
    """A clip in memory."""

    frames: NDArray[np.uint8]
    """T x S x S x 3, BGR."""
    points: NDArray[np.float32]
    """T x 68 x 2, pixels."""
    visible: NDArray[np.bool_]
    """T x 68: false where the head itself, dark glasses or a passing thing hides the point, the frame ends, or nobody is
    there."""
    pose_deg: NDArray[np.float32]
    """T x 3: yaw, pitch, roll."""


def render_clip(spec: ClipSpec) -> Rendered:
    """Render a whole clip."""
    # one thread: how OpenCV splits its work may not decide a pixel
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return _render(spec)
    finally:
        cv2.setNumThreads(threads)


def _render(spec: ClipSpec) -> Rendered:
    rng = np.random.default_rng([spec.seed, spec.clip])
    size, frames = spec.size_px, spec.frames
    motion = draw_motion(rng, frames)
    look = draw_look(rng)
    head = Head(rng, look, float(motion.half_width.mean()) * size)
    lamp = Lamp.draw(rng)
    lens = Lens.draw(rng, size)
    ground = Ground.draw(rng, size, frames)
    body = Body.draw(rng, look, frames)
    others = Passerby.draw_some(rng, look, frames)

    pictures = np.empty((frames, size, size, 3), np.uint8)
    points = np.empty((frames, 68, 2), np.float32)
    visible = np.empty((frames, 68), np.bool_)
    for t in range(frames):
        pose = Pose(
            rotation(motion.yaw[t], motion.pitch[t], motion.roll[t]),
            motion.center[t] * size - 0.5,
            float(motion.half_width[t]) * size,
        )
        expression = motion.expression(t)
        placed = head.place(pose, expression)
        big = np.asarray(cv2.resize(ground.frame(t, size), (2 * size, 2 * size)), np.uint8)
        points[t], visible[t] = placed.points[:, :2], False
        if not spec.away[0] <= t < spec.away[1]:
            jaw, nape = (
                pose.project(np.array([at]))[0, :2] * 2 + 0.5 for at in ((0, 1.3, 0.6), (0.0, 0.85, -0.35))
            )
            body.paint(big, t, 2 * pose.unit_px, jaw, nape, lamp)
            hits = head.paint(big, placed, expression, motion.gaze[t], lamp)
            cover = np.zeros(big.shape[:2], np.uint8)
            middle = pose.project(np.array([[0.0, 0.5, 1.0]]))[0, :2] * 2 + 0.5
            for other in others:
                other.paint(big, cover, t, middle, 2 * pose.unit_px, lamp)
            visible[t] = _visible(placed, hits, cover)
        small = np.asarray(cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        pictures[t] = lens.take(small, rng, float(motion.gain[t]))
        if look.glasses == "dark":
            visible[t, 36:48] = False
    pose_deg = np.stack([motion.yaw, motion.pitch, motion.roll], 1).astype(np.float32)
    return Rendered(pictures, points, visible, pose_deg)


def _visible(placed: Placed, hits: Hits, cover: Picture) -> NDArray[np.bool_]:
    """Which points the picture shows: nothing of the head is clearly nearer, nothing covers the pixel."""
    size = cover.shape[0] // 2
    at = np.round(placed.points[:, :2]).astype(int)
    inside = ((at >= 0) & (at < size)).all(1)
    x, y = np.clip(at, 0, size - 1).T
    depth: Array = np.full(size * size, -np.inf)
    depth[hits.pixels] = hits.of(placed.vertices[:, 2:].astype(np.float32))[:, 0]
    hidden = depth[y * size + x] > placed.points[:, 2] + 0.15
    hidden[JAW] = False  # on the visible outline, where depth falls away within a pixel
    return np.asarray(inside & ~hidden & (cover[2 * y, 2 * x] < 128))
