"""Further views of a crop for a teacher that wants a second opinion: mirrored, turned, nearer, farther.

A fixed list and no chance: the same teacher gives the same label for the same frame.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.errors import ConfigError
from tsal_dist.geometry import affine


class Turn(NamedTuple):
    """One other view: about the crop's centre, then perhaps mirrored."""

    degrees: float
    zoom: float
    order: tuple[int, ...]
    """Landmark order of the mirrored face; empty for a view that is not mirrored."""


_VIEWS = (
    *((0.0, 1.0, True), (8.0, 0.95, False), (-8.0, 1.05, True), (-8.0, 0.95, False)),
    *((8.0, 1.05, True), (15.0, 1.0, False), (-15.0, 1.0, True)),
)
"""Degrees, zoom, and whether it is mirrored."""


def turns(count: int, mirror_K: tuple[int, ...]) -> list[Turn]:
    """The first `count` other views. A layout whose mirror nobody knows gets the same views unmirrored."""
    if count > len(_VIEWS):
        raise ConfigError(
            f"method.views is {count + 1}; there are {len(_VIEWS) + 1} different views. Use at most that many."
        )
    aside = 0.0 if mirror_K else 4.0  # degrees that tell a view from the one it is a mirror image of
    return [
        Turn(degrees + aside, zoom, mirror_K) if mirrored else Turn(degrees, zoom, ())
        for degrees, zoom, mirrored in _VIEWS[:count]
    ]


def turn_image(image_NHWC: Tensor, turn: Turn) -> Tensor:
    """The crops in that view, as bytes; what comes in from outside repeats the border."""
    size_px = image_NHWC.shape[1]
    back_23 = affine.invert(_matrix(turn, size_px))
    middle, half = (size_px - 1) / 2, max(size_px - 1, 1) / 2
    # grid_sample counts from -1 to 1 between the centres of the outermost pixels.
    unit = affine.chain(affine.scale(half), affine.translate(middle, middle), back_23)
    theta_23 = affine.chain(unit, affine.translate(-middle, -middle), affine.scale(1 / half))
    theta_N23 = torch.from_numpy(theta_23).float().to(image_NHWC.device).expand(len(image_NHWC), 2, 3)
    image_N3HW = image_NHWC.permute(0, 3, 1, 2).float()
    grid_NHW2 = F.affine_grid(theta_N23, list(image_N3HW.shape), align_corners=True)
    turned_N3HW = F.grid_sample(image_N3HW, grid_NHW2, padding_mode="border", align_corners=True)
    return turned_N3HW.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def turn_back(points_NK2: Tensor, score_NK: Tensor, turn: Turn, size_px: int) -> tuple[Tensor, Tensor]:
    """Points and scores found in that view, in the first view's pixels and names."""
    matrix = torch.from_numpy(np.ascontiguousarray(affine.invert(_matrix(turn, size_px)))).to(points_NK2)
    home_NK2 = points_NK2 @ matrix[:, :2].T + matrix[:, 2]
    if turn.order:
        order = list(turn.order)
        return home_NK2[:, order], score_NK[:, order]
    return home_NK2, score_NK


def _matrix(turn: Turn, size_px: int) -> affine.Matrix:
    """First view's pixels to that view's."""
    middle = (size_px - 1) / 2
    steps = [affine.translate(-middle, -middle), affine.scale(turn.zoom), affine.rotate(turn.degrees)]
    steps.append(affine.translate(middle, middle))
    if turn.order:
        steps.append(affine.mirror(size_px))
    return affine.chain(*steps)
