"""The map around a point in eight bits: cut out by the teacher, laid into the student's view.

A patch has an odd number of cells and its point at the middle of the middle one, so nothing is lost by where the point
lies between two cells. Axes: N frames, K points, p cells of a patch, h w cells of a map.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.geometry.heatmap import cell_to_pixel, pixel_to_cell

LEVELS = 255


def cut_patches(heat_NKhw: Tensor, points_NK2: Tensor, size: int, stride: int) -> Tensor:
    """Patch_NKpp, uint8, centred at the points; zero outside of the map. Heights above 1 are 1."""
    middle_NK2 = pixel_to_cell(points_NK2.float(), stride)
    reach = torch.arange(size, device=heat_NKhw.device, dtype=torch.float32) - size // 2
    across_pp2 = torch.stack(torch.meshgrid(reach, reach, indexing="xy"), -1)
    patch_NKpp = _read(heat_NKhw.float(), middle_NK2[:, :, None, None] + across_pp2)
    return (patch_NKpp.clamp(0, 1) * LEVELS).round().to(torch.uint8)


def lay_patches(
    patch_NKpp: Tensor, points_NK2: Tensor, cell_N22: Tensor, size_hw: tuple[int, int], stride: int
) -> Tensor:
    """Heat_NKhw of the student: what each patch says of each of its cells, and 0 beyond the patch.

    `cell_N22` holds the student's pixels per cell of a patch, along columns and rows: the two views' scales and turns.
    """
    height, width = size_hw
    x_w = cell_to_pixel(torch.arange(width, device=points_NK2.device, dtype=torch.float32), stride)
    y_h = cell_to_pixel(torch.arange(height, device=points_NK2.device, dtype=torch.float32), stride)
    at_hw2 = torch.stack(torch.meshgrid(x_w, y_h, indexing="xy"), -1)
    away_NKhw2 = at_hw2 - points_NK2[:, :, None, None]
    # (dx, dy) = cell @ (column, row), so back by the inverse. Unlike inv, inv_ex asks no device whether there is one.
    back_N22 = torch.linalg.inv_ex(cell_N22.float()).inverse
    cells_NKhw2 = torch.einsum("nij,nkhwj->nkhwi", back_N22, away_NKhw2)
    return _read(patch_NKpp.float() / LEVELS, cells_NKhw2 + patch_NKpp.shape[-1] // 2).clamp_min(0)


def _read(map_NKhw: Tensor, cell_NKab2: Tensor) -> Tensor:
    """Each map at its own cells, 0 outside."""
    frames, points, height, width = map_NKhw.shape
    # Filled in there: a list of numbers would be sent, and waited for.
    sides = (width, height)
    scale_2 = torch.stack([torch.full((), max(side - 1.0, 1.0), device=map_NKhw.device) for side in sides])
    grid = (cell_NKab2 / scale_2 * 2 - 1).flatten(0, 1)
    maps = map_NKhw.reshape(frames * points, 1, height, width)
    # Cubic: between cells a line would cut a sixth off a narrow peak, and a map is read twice on its way.
    found = F.grid_sample(maps, grid, mode="bicubic", align_corners=True)
    return found.view(frames, points, *cell_NKab2.shape[2:4])
