"""Subjects of a picture as middles and sizes on a map of cells, and back.

Five maps speak of a subject in each cell: the logit of its middle being there, where its middle is, in cells from this one,
x before y, and by how much it is wider and higher than a quarter of the map, as logarithms. A box is two points, its
corners, so it is read off the maps as landmarks are: by `decode_center`.

Axes: N frames, B boxes of a frame, C candidates, h w cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tsal_dist.geometry.center import decode_center
from tsal_dist.geometry.heatmap import pixel_to_cell

MAPS = 5
SIGMA, LEAST_SIGMA_CELLS = 0.1, 0.7
"""A middle's gaussian, in sides of its box: a middle that is told a little off still gives a box that fits."""
NEAR_CELLS = 1
"""How far from a middle's cell others are taught its box too: the peak may come out beside it."""
MOST_LOG = 5.0
"""Beyond it a size is none, and its exponential would overflow."""


class BoxTarget(NamedTuple):
    """What the maps of N frames should say."""

    middle_N1hw: Tensor
    """Gaussians around the middles' cells; exactly 1 there."""
    corner_N4hw: Tensor
    """Cells from a cell to the corners of the box that it is taught: x1 y1 x2 y2."""
    taught_N1hw: Tensor
    """Whether a cell is taught one."""


def encode_boxes(boxes_B4: Sequence[Tensor], size_hw: tuple[int, int], stride: int) -> BoxTarget:
    """The targets of frames whose boxes are given in pixels; a frame may have none. Where boxes compete for a cell the
    smallest has it."""
    height, width = size_hw
    frames = len(boxes_B4)
    middle_N1hw = torch.zeros(frames, 1, height, width)
    corner_N4hw = torch.zeros(frames, 4, height, width)
    taught_N1hw = torch.zeros(frames, 1, height, width, dtype=torch.bool)
    at_4hw = _places(height, width).repeat(2, 1, 1)
    for n, of_frame_B4 in enumerate(boxes_B4):
        sides_B2 = of_frame_B4[:, 2:] - of_frame_B4[:, :2]
        for place in torch.argsort(sides_B2.prod(1), descending=True, stable=True).tolist():
            corner_4 = pixel_to_cell(of_frame_B4[place], stride)
            x, y = ((corner_4[:2] + corner_4[2:]) / 2).round().long().tolist()
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            sigma_2 = (SIGMA * sides_B2[place] / stride).clamp_min(LEAST_SIGMA_CELLS)
            away_2hw = (at_4hw[:2] - torch.tensor([x, y])[:, None, None]) / sigma_2[:, None, None]
            bump_hw = torch.exp(-away_2hw.square().sum(0) / 2)
            middle_N1hw[n, 0] = torch.maximum(middle_N1hw[n, 0], bump_hw)
            near = (
                slice(max(0, y - NEAR_CELLS), y + NEAR_CELLS + 1),
                slice(max(0, x - NEAR_CELLS), x + NEAR_CELLS + 1),
            )
            corner_N4hw[(n, slice(None), *near)] = corner_4[:, None, None] - at_4hw[(slice(None), *near)]
            taught_N1hw[(n, 0, *near)] = True
    return BoxTarget(middle_N1hw, corner_N4hw, taught_N1hw)


def corners_of(maps_N5hw: Tensor) -> Tensor:
    """Cells from each cell to the corners of the subject that it speaks of: corner_N4hw."""
    unit_2 = maps_N5hw.new_tensor([maps_N5hw.shape[-1], maps_N5hw.shape[-2]]) / 4
    half_N2hw = maps_N5hw[:, 3:].clamp(-MOST_LOG, MOST_LOG).exp() * unit_2[:, None, None] / 2
    middle_N2hw = maps_N5hw[:, 1:3]
    return torch.cat([middle_N2hw - half_N2hw, middle_N2hw + half_N2hw], dim=1)


def decode_boxes(maps_N5hw: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The best subjects of each frame: boxes_NC4 in pixels and score_NC in [0, 1], best first."""
    corner_NC22, score_NC = decode_center(maps_N5hw[:, :1], corners_of(maps_N5hw), stride)
    return corner_NC22.flatten(2), score_NC


def _places(height: int, width: int) -> Tensor:
    """Every cell's own x and y."""
    y_hw, x_hw = torch.meshgrid(
        torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32), indexing="ij"
    )
    return torch.stack([x_hw, y_hw])
