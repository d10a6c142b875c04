"""One look or several: views of the same crop whose heatmaps are brought home and averaged.

A mirror image costs a second forward pass and cancels what a net has learnt about left and right by chance; views that
are a little smaller, larger or turned cancel chance errors of place. The list is fixed and nothing is drawn: the same net
gives the same maps for the same crop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tsal_dist.geometry import affine
from tsal_dist.geometry.warp import resample
from tsal_dist.models.output import Forward


@dataclass(frozen=True)
class View:
    """One look at a crop: enlarged and turned about its middle, then mirrored."""

    zoom: float = 1.0
    degrees: float = 0.0
    mirrored: bool = False


_STRAIGHT = (View(), View(zoom=0.92), View(zoom=1.08), View(degrees=6.0), View(degrees=-6.0))
# Each other one is mirrored, so that an even number favours no side; small with large, left with right.
_MIRRORING = (
    View(),
    View(mirrored=True),
    View(zoom=0.92),
    View(zoom=1.08, mirrored=True),
    View(degrees=6.0),
    View(degrees=6.0, mirrored=True),
    View(degrees=-6.0),
    View(degrees=-6.0, mirrored=True),
)


def views_of(mirror: tuple[int, ...]) -> tuple[View, ...]:
    """All there are, the plain one first. `mirror` says which landmarks change places; without it nothing is mirrored."""
    return _MIRRORING if mirror else _STRAIGHT


def average_views(
    forward: Forward,
    plain_NKhw: Tensor,
    image_N3HW: Tensor,
    stride: int,
    views: int,
    mirror: tuple[int, ...],
) -> Tensor:
    """Heat_NKhw of the K points, averaged over the first `views`; `plain_NKhw` are those of the plain one."""
    if views == 1:
        return plain_NKhw
    others = [seen_in(forward, image_N3HW, stride, view, mirror) for view in views_of(mirror)[1:views]]
    return torch.stack([plain_NKhw.float(), *others]).mean(0)


def seen_in(forward: Forward, image_N3HW: Tensor, stride: int, view: View, mirror: tuple[int, ...]) -> Tensor:
    """Heat_NKhw of the K points as the detector sees them in `view`, in the cells of the plain crop."""
    size_px = image_N3HW.shape[-1]
    there_23 = _matrix(view, size_px)
    if view.zoom != 1 or view.degrees:
        image_N3HW = resample(image_N3HW, affine.invert(there_23))
    if view.mirrored:
        image_N3HW = image_N3HW.flip(-1)
    heat_NKhw = forward(image_N3HW).points_heat_NKhw.float()
    if view.mirrored:
        heat_NKhw = heat_NKhw.flip(-1)[:, list(mirror)]
    if view.zoom != 1 or view.degrees:
        heat_NKhw = resample(heat_NKhw, _in_cells(there_23, stride))
    return heat_NKhw


def _matrix(view: View, size_px: int) -> affine.Matrix:
    """Pixels of the crop to pixels of the view, before it is mirrored."""
    middle = (size_px - 1) / 2
    return affine.chain(
        affine.translate(-middle, -middle),
        affine.scale(view.zoom),
        affine.rotate(view.degrees),
        affine.translate(middle, middle),
    )


def _in_cells(matrix_23: affine.Matrix, stride: int) -> affine.Matrix:
    """The same movement for the cells of a map: their centres are at stride * cell + (stride - 1) / 2."""
    offset = (stride - 1) / 2
    to_pixels = affine.chain(affine.scale(stride), affine.translate(offset, offset))
    return affine.chain(to_pixels, matrix_23, affine.invert(to_pixels))
