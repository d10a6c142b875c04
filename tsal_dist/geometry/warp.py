"""Follow an optical flow: rebuild a frame from its neighbour, look it up at points, find where the flow can be trusted.

flow_N2HW from a to b holds at pixel p of a the step (x, y) in pixels to the same thing in b.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.geometry import affine

SLACK, FLOOR_PX2 = 0.01, 0.5
"""By how much two flows may fail to undo each other, squared: of their squared lengths, and in any case."""


def sample(map_NCHW: Tensor, points_NK2: Tensor) -> Tensor:
    """Values_NKC of a map at points in its own pixels, bilinear; the border's value beyond the border."""
    grid_N1K2 = _to_grid(points_NK2, map_NCHW).unsqueeze(1)
    values_NC1K = F.grid_sample(map_NCHW.float(), grid_N1K2, padding_mode="border", align_corners=True)
    return values_NC1K.squeeze(2).transpose(1, 2)


def warp(image_NCHW: Tensor, flow_N2HW: Tensor) -> tuple[Tensor, Tensor]:
    """Frame a as rebuilt from frame b by the flow a to b, and valid_N1HW, where b has what a shows.

    Rebuilt(p) = b(p + flow(p)). Outside of b the border is repeated and marked as not valid.
    """
    height, width = image_NCHW.shape[-2:]
    target_NHW2 = _pixels(flow_N2HW) + flow_N2HW.float().permute(0, 2, 3, 1)
    grid_NHW2 = _to_grid(target_NHW2, image_NCHW)
    rebuilt = F.grid_sample(image_NCHW.float(), grid_NHW2, padding_mode="border", align_corners=True)
    x_NHW, y_NHW = target_NHW2.unbind(-1)
    # Half a pixel of grace: a pixel's picture reaches that far from its centre.
    valid_NHW = (x_NHW >= -0.5) & (x_NHW <= width - 0.5) & (y_NHW >= -0.5) & (y_NHW <= height - 0.5)
    return rebuilt, valid_NHW.unsqueeze(1)


def resample(
    map_NCHW: Tensor, source_23: affine.Matrix, size: int | None = None, outside: str = "border"
) -> Tensor:
    """The map with its content moved: out(p) = map(source_23 p), in its own pixels or cells, as large as it was or a square
    of `size`; beyond the border the border's value, or `zeros`."""
    height, width = map_NCHW.shape[-2:]
    to_unit_23 = np.array([[2 / max(width - 1, 1), 0.0, -1.0], [0.0, 2 / max(height - 1, 1), -1.0]])
    rows, columns = (size, size) if size else (height, width)
    y_H1 = torch.arange(rows, device=map_NCHW.device, dtype=torch.float32).unsqueeze(1)
    x_W = torch.arange(columns, device=map_NCHW.device, dtype=torch.float32)
    # Number by number: a matrix would be sent to the device, and waited for.
    numbers = affine.chain(source_23, to_unit_23).tolist()
    grid_HW2 = torch.stack([x_W * a + y_H1 * b + c for a, b, c in numbers], dim=-1)
    grid_NHW2 = grid_HW2.expand(len(map_NCHW), -1, -1, -1)
    return F.grid_sample(map_NCHW.float(), grid_NHW2, padding_mode=outside, align_corners=True)


def forward_backward_error(forward_N2HW: Tensor, backward_N2HW: Tensor) -> Tensor:
    """Error_N1HW: how many pixels off one lands after going to the other frame and back.

    |f(p) + b(p + f(p))|
    """
    back_N2HW, _ = warp(backward_N2HW, forward_N2HW)
    # Not vector_norm, which walks an axis of two by itself: 80 times as long on a CPU, a fifth of all labelling.
    return torch.hypot(*torch.split(forward_N2HW + back_N2HW, 1, dim=1))


def not_occluded(forward_N2HW: Tensor, backward_N2HW: Tensor) -> Tensor:
    """Valid_N1HW: whether the two flows undo each other, allowing a longer way a larger error.

    |f + b(p + f)|^2 <= SLACK (|f|^2 + |b(p + f)|^2) + FLOOR_PX2, and p + f is inside the frame.
    """
    back_N2HW, inside_N1HW = warp(backward_N2HW, forward_N2HW)
    error_N1HW = (forward_N2HW + back_N2HW).square().sum(1, keepdim=True)
    way_N1HW = forward_N2HW.square().sum(1, keepdim=True) + back_N2HW.square().sum(1, keepdim=True)
    return inside_N1HW & (error_N1HW <= SLACK * way_N1HW + FLOOR_PX2)


def _pixels(flow_N2HW: Tensor) -> Tensor:
    """Coordinates_HW2 (x, y) of every pixel."""
    height, width = flow_N2HW.shape[-2:]
    y_H = torch.arange(height, device=flow_N2HW.device, dtype=torch.float32)
    x_W = torch.arange(width, device=flow_N2HW.device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(x_W, y_H, indexing="xy"), dim=-1)


def _to_grid(points: Tensor, map_NCHW: Tensor) -> Tensor:
    """Pixels to the sampler's [-1, 1], whose ends are the centres of the outermost pixels."""
    height, width = map_NCHW.shape[-2:]
    x, y = points.float().unbind(-1)
    return torch.stack([x * 2 / max(width - 1, 1) - 1, y * 2 / max(height - 1, 1) - 1], dim=-1)
