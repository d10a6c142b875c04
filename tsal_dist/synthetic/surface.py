"""The head as a mesh: where every piece of skin lies in three dimensions.

A wheel of vertices: the hub is under the nose, the rim runs along the jaw from ear to chin to ear and over the
top of the skull, and some rings beyond the rim close the head behind and under the jaw. In front of the rim the
surface is a height field over x and y, so a landmark's depth is the skin's depth under it, by construction.

uv are the head's own x, y at rest (beyond the rim: continued outward), the plane that skin is painted in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.synthetic.shape import JAW, Array

SPOKES = 80
JAW_SPOKES = 44
"""The first spokes end on the jaw, ear to ear; the others on the skull."""
RINGS = 24
BACK = 4
"""Rings behind the rim."""
_JAW_DEPTH = (0.02, 0.03, 0.07, 0.17, 0.38, 0.66, 0.90, 1.06, 1.11)
"""Depth of jaw points 0..8: the jaw comes forward from the ear to the chin."""


@dataclass(frozen=True)
class Relief:
    """What a person's nose, brows and cheeks add to the egg that a head is."""

    nose: float
    nose_width: float
    brow: float
    cheek: float
    chin: float
    depth: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Relief":
        vary = np.clip(rng.normal(0.0, 1.0, 6), -2.0, 2.0)
        return Relief(
            nose=0.36 * (1 + 0.15 * vary[0]),
            nose_width=0.115 * (1 + 0.12 * vary[1]),
            brow=0.05 * (1 + 0.5 * vary[2]),
            cheek=0.05 * (1 + 0.5 * vary[3]),
            chin=0.09 * (1 + 0.4 * vary[4]),
            depth=1.24 * (1 + 0.04 * vary[5]),
        )


def _rim(rest: Array) -> Array:
    """The rim, SPOKES x 3: the jaw's 17 points made dense, then back over the skull."""
    depth = np.array([*_JAW_DEPTH, *_JAW_DEPTH[-2::-1]])
    jaw = np.column_stack([rest[JAW], depth])
    at = np.linspace(0.0, 16.0, JAW_SPOKES)
    dense = np.column_stack([np.interp(at, np.arange(17), jaw[:, axis]) for axis in range(3)])
    # from the left ear (jaw 16) over the crown to the right ear (jaw 0), both ends excluded
    turn = np.linspace(0.0, np.pi, SPOKES - JAW_SPOKES + 2)[1:-1]
    width, ear_y = 0.5 * (jaw[16, 0] - jaw[0, 0]), 0.5 * (jaw[0, 1] + jaw[16, 1])
    middle = 0.5 * (jaw[0, 0] + jaw[16, 0])
    bulge = 1.0 + 0.05 * np.sin(turn) ** 2 * np.abs(np.cos(turn))
    top = np.column_stack(
        [
            middle + width * np.cos(turn) * bulge,
            ear_y - 1.33 * np.sin(turn) ** 0.85,
            0.02 + 0.10 * np.sin(turn),
        ]
    )
    return np.vstack([dense, top])


class Surface:
    """One person's head at rest."""

    def __init__(self, rest: Array, relief: Relief) -> None:
        self.rest = rest
        self.relief = relief
        self.rim = _rim(rest)
        self.hub = np.array([0.0, 0.47])
        out = self.rim[:, :2] - self.hub
        self._rim_angle = np.arctan2(out[:, 1], out[:, 0])
        self._order = np.argsort(self._rim_angle)
        self._rim_radius = np.hypot(out[:, 0], out[:, 1])

        radii = (np.arange(RINGS + 1) / RINGS) ** 0.9
        front = self.hub + radii[1:, None, None] * out[None]
        front_z = self.height(front.reshape(-1, 2)).reshape(RINGS, SPOKES)
        front_z[-1] = self.rim[:, 2]
        rings = [np.dstack([front, front_z])]
        uv = [front]
        under = self._under_jaw()
        for step, (back, shrink) in enumerate(((0.30, 1.0), (0.62, 0.97), (0.95, 0.84), (1.2, 0.55)), 1):
            ring = self.rim.copy()
            narrow = shrink * (1.0 - under * 0.14 * step)
            ring[:, 0] *= narrow
            ring[:, 1] = 0.1 + (ring[:, 1] - 0.1) * (narrow - 0.02 * under * step)
            ring[:, 2] -= back * (1.0 + 0.3 * under)
            rings.append(ring[None])
            uv.append((self.hub + out * (1.0 + 0.09 * step))[None])
        self.uv = np.vstack([self.hub[None], np.concatenate(uv).reshape(-1, 2)])
        hub_z = self.height(self.hub[None])[0]
        self.xyz = np.vstack([[*self.hub, hub_z], np.concatenate(rings).reshape(-1, 3)])
        self.point_z = self.height(rest)
        self.point_z[JAW] = [*_JAW_DEPTH, *_JAW_DEPTH[-2::-1]]
        self.triangles = _wheel()

    def _under_jaw(self) -> Array:
        """1 at the chin's part of the rim, 0 from the ears up."""
        return np.clip((self.rim[:, 1] - 0.7) / 0.6, 0.0, 1.0)

    def height(self, xy: Array) -> Array:
        """Depth of the skin at places within the rim."""
        r = self.relief
        out = xy - self.hub
        angle = np.arctan2(out[:, 1], out[:, 0])
        rim_angle, order = self._rim_angle[self._order], self._order
        radius = np.interp(angle, rim_angle, self._rim_radius[order], period=2 * np.pi)
        rim_z = np.interp(angle, rim_angle, self.rim[order, 2], period=2 * np.pi)
        share = np.clip(np.hypot(out[:, 0], out[:, 1]) / radius, 0.0, 1.0)
        # a forehead is flat and then turns over; cheeks turn sooner
        power = 2.5 + 0.9 * np.clip(-np.sin(angle), 0.0, 1.0)
        dome = (1.0 - share**power) ** 0.55
        z = rim_z + (r.depth - rim_z) * dome
        return np.asarray(z + self._features(xy) * (1.0 - share**8))

    def _features(self, xy: Array) -> Array:
        r, rest = self.relief, self.rest
        x, y = xy[:, 0], xy[:, 1]

        def bump(cx: float, cy: float, sx: float, sy: float) -> Array:
            return np.asarray(np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2))

        # the nose rises from between the eyes to its tip, and falls steeply to the lip
        top, tip, base = rest[27, 1], rest[30, 1], rest[33, 1]
        climb = np.clip((y - top + 0.12) / (tip - top + 0.12), 0.0, 1.0)
        fall = np.clip((base - y) / (base - tip), 0.0, 1.0)
        ridge = np.where(y < tip, 0.22 * climb + 0.78 * climb**1.6, np.sqrt(fall) * 0.85 + 0.15 * fall)
        ridge = ridge * np.exp(-((x / (r.nose_width * (0.85 + 0.45 * climb))) ** 2))
        wing_x = 0.72 * float(np.abs(rest[[31, 35], 0]).mean())
        wing_y = float(rest[[31, 35], 1].mean()) - 0.07
        z = r.nose * ridge + 0.12 * (bump(-wing_x, wing_y, 0.08, 0.08) + bump(wing_x, wing_y, 0.08, 0.08))
        for side, eye in ((-1, rest[36:42]), (1, rest[42:48])):
            ex, ey = eye.mean(0)
            z += -0.13 * bump(ex - side * 0.06, ey, 0.25, 0.15) + 0.07 * bump(ex, ey, 0.14, 0.10)
            z += r.brow * bump(ex, ey - 0.27, 0.30, 0.10) + r.cheek * bump(side * 0.62, 0.42, 0.22, 0.18)
        lip = float(rest[[48, 54], 1].mean())
        z += 0.10 * bump(0.0, lip + 0.02, 0.30, 0.16) - 0.06 * bump(0.0, lip + 0.25, 0.22, 0.07)
        z += r.chin * bump(0.0, lip + 0.43, 0.17, 0.10) - 0.02 * bump(0.0, lip - 0.2, 0.05, 0.10)
        return np.asarray(z)


def _wheel() -> NDArray[np.int64]:
    """Triangles of the wheel, wound so that they face outward (y points down)."""
    spoke = np.arange(SPOKES)
    following = (spoke + 1) % SPOKES
    faces = [np.column_stack([np.zeros(SPOKES, np.int64), 1 + spoke, 1 + following])]
    for ring in range(RINGS + BACK - 1):
        inner, outer = 1 + ring * SPOKES, 1 + (ring + 1) * SPOKES
        faces.append(np.column_stack([inner + spoke, outer + spoke, outer + following]))
        faces.append(np.column_stack([inner + spoke, outer + following, inner + following]))
    return np.concatenate(faces)
