"""One person's head, drawn in any pose and expression, with the 68 points where they are in the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture, curve, fill, rgb, stroke
from tsal_dist.synthetic import features as layer_plane
from tsal_dist.synthetic.camera import Lamp, Pose
from tsal_dist.synthetic.features import Features
from tsal_dist.synthetic.look import Look
from tsal_dist.synthetic.raster import Hits, rasterize
from tsal_dist.synthetic.shape import (
    EYES,
    JAW,
    Array,
    Expression,
    lower_share,
    moved,
    person_points,
    point_lower_share,
    with_lids,
)
from tsal_dist.synthetic.skin import hair_depth, paint_skin
from tsal_dist.synthetic.surface import BACK, JAW_SPOKES, RINGS, SPOKES, Relief, Surface

_MARCH = 14
"""How many places from the rim inward a hidden jaw point may slide to the visible outline."""
_JAW_AT = np.linspace(0.0, JAW_SPOKES - 1.0, 17)
"""On which spokes of the mesh the 17 jaw points lie."""


@dataclass(frozen=True)
class Placed:
    """A head's geometry in one frame."""

    points: Array
    """68 x 3 in the frame: x, y in pixels, z toward us in head units."""
    flat: Array
    """68 x 2, the points in the head's own plane as the expression moved them."""
    vertices: Array
    """V x 3 in the frame."""
    vertex_flat: Array
    """V x 2, as `flat`."""
    normals: Array
    pose: Pose


class Head:
    """A person: shape, looks and painted skin. The same random numbers give the same person."""

    def __init__(self, rng: np.random.Generator, look: Look, unit_px: float) -> None:
        self.look = look
        rest = person_points(rng)
        self.surface = Surface(rest, Relief.draw(rng))
        self._rest3 = np.column_stack([rest, self.surface.point_z])
        self._point_lower = point_lower_share(rest)
        xyz, uv = self.surface.xyz, self.surface.uv
        self._vertex_lower = lower_share(rest, xyz[:, :2])
        self._skin = paint_skin(rng, look, rest, unit_px * 1.6)
        self._skin_at = self._skin.places(uv)
        self._features = Features.draw(rng, look, unit_px * 1.9)
        # hair stands off the skull, a little unevenly
        thick = np.clip(hair_depth(uv, look) / 0.3, 0.0, 1.0) * (
            look.volume if look.hair_style != "bald" else 0.0
        )
        outward = xyz - (0.0, 0.1, -0.2)
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        uneven = 1.0 + 0.35 * rng.uniform(-1, 1, len(xyz)) * (look.hair_style != "cap")
        self._hair_lift = outward * (thick * uneven)[:, None]
        self._rest_z = float(self.surface.height(np.array([[0.0, -0.05]]))[0])

    def place(self, pose: Pose, expression: Expression) -> Placed:
        """Where everything is in a frame."""
        rest = self.surface.rest
        points = moved(rest, self._rest3, self._point_lower, expression)
        points[:, :2] = with_lids(points[:, :2], expression.blink)
        bare = moved(rest, self.surface.xyz, self._vertex_lower, expression)
        vertices = pose.project(bare + self._hair_lift)
        placed = pose.project(points)
        placed[JAW] = self._outline(pose, bare, placed[JAW])
        normals = self._normals(bare + self._hair_lift) @ pose.turn.T
        return Placed(placed, points[:, :2], vertices, bare[:, :2], normals, pose)

    def _outline(self, pose: Pose, bare: Array, jaw: Array) -> Array:
        """Jaw points as annotators put them: on the jaw where it is seen, else on the outline before it.

        Each point may slide along its spoke, from the rim toward the middle of the face, to the place that
        reaches farthest out to its own side of the picture.
        """
        rings = np.arange(RINGS - 1, RINGS - 1 - _MARCH, -1)
        inner = 1 + rings * SPOKES
        f = (_JAW_AT - np.floor(_JAW_AT))[:, None, None]
        before, after = np.floor(_JAW_AT).astype(int), np.ceil(_JAW_AT).astype(int)
        path = bare[before[:, None] + inner] * (1 - f) + bare[after[:, None] + inner] * f
        seen = pose.project(path.reshape(-1, 3)).reshape(17, _MARCH, 3)
        # outward in the picture: the normal of the jaw line at rest, tilted as the head is
        t = np.linspace(-1.0, 1.0, 17)
        side = np.sign(t) * np.clip(np.abs(t) * 2.2, 0.0, 1.0)
        normal = np.stack([side, np.sqrt(1 - side**2)], 1)
        across = pose.turn[:2, 0] / max(1e-6, float(np.hypot(*pose.turn[:2, 0])))
        down = np.array([-across[1], across[0]])
        outward = normal[:, :1] * across + normal[:, 1:] * down
        reach = np.einsum("kmc,kc->km", seen[..., :2], outward)
        best = reach.argmax(1)
        return np.asarray(np.where((best == 0)[:, None], jaw, seen[np.arange(17), best]))

    def _normals(self, xyz: Array) -> Array:
        """Outward unit normals of all vertices, from their neighbours along the spokes and the rings."""
        grid = xyz[1:].reshape(RINGS + BACK, SPOKES, 3)
        along = np.roll(grid, -1, 1) - np.roll(grid, 1, 1)
        inner = np.concatenate([np.broadcast_to(xyz[0], (1, SPOKES, 3)), grid[:-1]])
        outer = np.concatenate([grid[1:], grid[-1:]])
        normal = np.cross(along, outer - inner).reshape(-1, 3)
        normal = np.vstack([[0.0, 0.0, 1.0], normal])
        return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9))

    def paint(
        self, picture: Picture, placed: Placed, expression: Expression, gaze: Array, lamp: Lamp
    ) -> Hits:
        """Draw the head over a picture of twice the frame's size; tell what the frame's pixels see."""
        size = picture.shape[0] // 2
        turned = placed.pose.turn
        if self.look.hair_style == "long":
            self._long_hair(picture, placed.pose, lamp)
        yaw = turned[0, 2]
        ears = (-1, 1) if yaw < 0 else (1, -1)  # the far one first
        self._ear(picture, placed.pose, ears[0], lamp)
        hits = rasterize(placed.vertices[:, :2], placed.vertices[:, 2], self.surface.triangles, size, size)
        self._face(picture, placed, hits, expression, gaze, lamp)
        if abs(yaw) > 0.12:
            self._ear(picture, placed.pose, ears[1], lamp)
        if self.look.hair_style == "cap":
            self._brim(picture, placed.pose, lamp)
        if self.look.glasses != "none":
            self._glasses(picture, placed)
        return hits

    def _face(
        self, picture: Picture, placed: Placed, hits: Hits, expression: Expression, gaze: Array, lamp: Lamp
    ) -> None:
        size = picture.shape[0] // 2
        p = self._features.px_per_unit
        lights = np.column_stack([lamp.diffuse(placed.normals), lamp.shine(placed.normals)])
        values = np.column_stack([self._skin_at, layer_plane.places(placed.vertex_flat, p), lights])
        box = left, top, right, bottom = _box(hits.pixels, size)
        patch = _bled(hits, values.astype(np.float32), size, box)
        # twice the resolution, pixel (x, y) of the frame becoming the four around (2x + 0.5, 2y + 0.5)
        skin_x, skin_y, layer_x, layer_y = (
            cv2.resize(np.ascontiguousarray(patch[..., k]), None, fx=2, fy=2) for k in range(4)
        )
        light = np.ascontiguousarray(patch[..., 4:])
        bright = cv2.transform(light, np.stack([lamp.key, 0 * lamp.key, lamp.fill], 1))
        glare = cv2.transform(light, np.stack([0 * lamp.key, 110.0 * lamp.key], 1))
        bright, glare = (cv2.resize(part, None, fx=2, fy=2) for part in (bright, glare))
        layer = self._features.paint(placed.flat, expression.blink, gaze)
        skin = cv2.remap(self._skin.texture, skin_x, skin_y, cv2.INTER_LINEAR)
        drawn = cv2.remap(layer, layer_x, layer_y, cv2.INTER_LINEAR)
        blue, green, red, cover = cv2.split(drawn)
        bare = 255 - cover
        under = cv2.multiply(skin, cv2.merge([bare, bare, bare]), scale=1 / 255)
        color = cv2.add(under, cv2.merge([blue, green, red]))
        lit = cv2.convertScaleAbs(cv2.add(cv2.multiply(color, bright, dtype=cv2.CV_32F), glare))
        share = self._silhouette(placed, box).astype(np.float32) * np.float32(1 / 255)
        window = picture[2 * top : 2 * bottom, 2 * left : 2 * right]
        window[:] = cv2.blendLinear(lit, np.ascontiguousarray(window), share, 1 - share)

    def _silhouette(self, placed: Placed, box: tuple[int, int, int, int]) -> Picture:
        """The head's shape with a smooth edge: the union of what its rings enclose."""
        left, top, right, bottom = box
        mask = np.zeros((2 * (bottom - top), 2 * (right - left)), np.uint8)
        rings = placed.vertices[1:, :2].reshape(RINGS + BACK, SPOKES, 2) * 2 + 0.5 - (2 * left, 2 * top)
        for ring in rings[RINGS // 2 :: 2]:
            fill(mask, ring, (255.0,))
        return mask

    def _ear(self, picture: Picture, pose: Pose, side: int, lamp: Lamp) -> None:
        if self.look.hair_style == "long" and self.look.volume > 0.09:
            return  # under the hair
        turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        up, back = -np.cos(turn), np.sin(turn)

        def ring(scale: float, out: float) -> Array:
            width = np.abs(self.surface.rim[[0, 43], 0]).mean()
            y = 0.13 + scale * 0.27 * up + 0.03 * back
            z = -0.14 - scale * (0.15 - 0.05 * up) * back
            x = side * (width - 0.03 + out + 0.11 * scale * (back > 0.3) + 0.04 * (up < 0))
            return curve(pose.project(np.stack([x + 0 * y, y, z], 1))[:, :2] * 2 + 0.5, closed=True)

        normal = pose.turn @ np.array([0.75 * side, 0.0, 0.66])
        skin = self.look.skin * (0.97, 0.95, 1.0)
        fill(picture, ring(1.0, 0.0), lamp.on(skin * 0.92, normal))
        fill(picture, ring(0.66, 0.015), lamp.on(skin * 0.66, normal))
        fill(picture, ring(0.40, 0.02), lamp.on(skin * 0.82, normal))

    def _long_hair(self, picture: Picture, pose: Pose, lamp: Lamp) -> None:
        """A curtain behind the face, down to the shoulders."""
        v = 1.04 + 1.3 * self.look.volume
        right = [(v * 0.9, -0.6), (v, -0.1), (v * 1.08, 0.6), (v * 1.10, 1.2), (v * 0.98, 1.95), (0.5, 2.05)]
        flat = np.array(right + [(-x, y) for x, y in reversed(right)])
        at = pose.project(np.column_stack([flat, np.full(len(flat), -0.35)]))[:, :2] * 2 + 0.5
        facing = np.array([0.0, -0.1, 0.99])
        fill(picture, curve(at, closed=True), lamp.on(self.look.hair * 0.72, facing))
        for k in range(11):
            f = k / 10
            lock = curve(at[:6] * (1 - f) + at[:5:-1] * f)
            tone = 0.60 + 0.32 * ((k * 7) % 5) / 4
            stroke(picture, lock, lamp.on(self.look.hair * tone, facing), 0.05 * pose.unit_px)

    def _brim(self, picture: Picture, pose: Pose, lamp: Lamp) -> None:
        y = -(self.look.hairline - self.look.fringe)
        turn = np.linspace(-1.15, 1.15, 9)
        z = float(self.surface.height(np.array([[0.0, y]]))[0]) * np.cos(turn)
        x = 0.98 * np.sin(turn)
        near = np.stack([x, y + 0.10 * np.sin(turn) ** 2, z + 0.05], 1)
        far = np.stack([0.98 * x, y + 0.06 + 0 * x, z + 0.62 * np.cos(turn)], 1)
        edge = pose.project(np.vstack([near, far[::-1]]))[:, :2] * 2 + 0.5
        fill(picture, edge, lamp.on(self.look.cloth * 0.7, pose.turn @ np.array([0.0, -0.8, 0.6])))

    def _glasses(self, picture: Picture, placed: Placed) -> None:
        look, pose = self.look, placed.pose
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        power = 0.55 if look.glasses == "square" else 0.85
        wave = [np.sign(w) * np.abs(w) ** power for w in (np.cos(turn), np.sin(turn))]
        line = max(1.0, 0.05 * pose.unit_px)
        color = rgb(look.frame_color)
        facing_right = pose.turn[0, 2]
        rest = self.surface.rest
        for side, eye in zip((-1, 1), EYES, strict=True):
            ex, ey = rest[eye].mean(0)
            x, y = ex + 0.285 * wave[0], ey + 0.03 + 0.215 * wave[1]
            z = self._rest_z + 0.04 - 0.18 * x**2
            rim = pose.project(np.stack([x, y, z], 1))[:, :2] * 2 + 0.5
            low, high = np.floor(rim.min(0)).astype(int) - 1, np.ceil(rim.max(0)).astype(int) + 2
            low, high = np.maximum(low, 0), np.minimum(high, picture.shape[0])
            window = picture[low[1] : high[1], low[0] : high[0]]
            if not window.size:
                continue
            glass = window.copy()
            dark = look.glasses == "dark"
            fill(glass, rim - low, (30, 26, 24) if dark else (235, 230, 225))
            cover = 0.88 if dark else 0.10
            window[:] = cv2.addWeighted(window, 1 - cover, glass, cover, 0)
            stroke(picture, rim, color, line, closed=True)
            if facing_right * side < 0.10:  # the temple on the side that we see
                hinge = np.array([ex + side * 0.285, ey - 0.02, self._rest_z - 0.12])
                ear = np.array([side * 1.04, -0.04, -0.05])
                stroke(picture, pose.project(np.stack([hinge, ear]))[:, :2] * 2 + 0.5, color, line)
        bridge = np.array([[s * 0.285 + e, 0.0, self._rest_z + 0.03] for s, e in
                           ((1, rest[36:42, 0].mean()), (-1, rest[42:48, 0].mean()))])  # fmt: skip
        bridge[:, 1] = rest[36:48, 1].mean() - 0.02
        middle = bridge.mean(0) - (0, 0.05, -0.06)
        path = curve(np.array([bridge[0], middle, bridge[1]]))
        stroke(picture, pose.project(path)[:, :2] * 2 + 0.5, color, line)


def _bled(
    hits: Hits, values: NDArray[np.float32], size: int, box: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """Vertices' values in the box's pixels; unseen pixels take the nearest seen one's, to cut an edge through."""
    left, top, right, bottom = box
    seen: NDArray[np.int32] = np.full((size, size), -1, np.int32)
    seen.ravel()[hits.pixels] = np.arange(len(hits.pixels))
    seen = np.ascontiguousarray(seen[top:bottom, left:right])
    _, labels = cv2.distanceTransformWithLabels(
        (seen < 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(len(hits.pixels) + 1, np.int64)
    nearest[labels[seen >= 0]] = seen[seen >= 0]
    return np.asarray(hits.of(values)[nearest[labels]])


def _box(pixels: NDArray[np.int32], size: int) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the pixels, the last two excluded."""
    if not len(pixels):
        return 0, 0, 1, 1
    y, x = np.divmod(pixels, size)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
