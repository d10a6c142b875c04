"""A face as one centre cell and an offset to each landmark, and back.

This second description of the same points is read from other outputs of the network than the heatmaps, so where
both agree they are likely right. Offsets are in cells: o_k = cell(p_k) - c. Their 2K channels are x_0 y_0 x_1
y_1 ... Axes: N frames, K points, C candidates, h w cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tsal_dist.geometry.heatmap import cell_of, cell_to_pixel, pixel_to_cell

CENTER_SIGMA_CELLS = 1.5
MOST_FACES = 32
"""That a map of centres is asked for."""


class CenterTarget(NamedTuple):
    """What the centre map and the offsets of N frames should be; all zero where a frame has no visible point."""

    center_N1hw: Tensor
    """Gaussian around the centre cell; exactly 1 there."""
    cell_N2: Tensor
    """The centre cell, x before y, int64."""
    offset_NK2: Tensor
    has_center_N: Tensor
    """Whether the frame has a centre at all: no positives for unlabelled frames."""


def encode_center(
    points_NK2: Tensor, visible_NK: Tensor, size_hw: tuple[int, int], stride: int
) -> CenterTarget:
    """The centre is the cell nearest to the centroid of the visible landmarks, clipped to the map."""
    height, width = size_hw
    cells_NK2 = pixel_to_cell(points_NK2, stride)
    seen_NK1 = visible_NK.to(cells_NK2.dtype).unsqueeze(-1)
    centroid_N2 = (cells_NK2 * seen_NK1).sum(1) / seen_NK1.sum(1).clamp_min(1)
    x_N, y_N = centroid_N2.round().unbind(-1)
    center_N2 = torch.stack([x_N.clamp(0, width - 1), y_N.clamp(0, height - 1)], dim=-1)
    has_center_N = visible_NK.bool().any(1)

    at_w = torch.arange(width, device=cells_NK2.device, dtype=cells_NK2.dtype)
    at_h = torch.arange(height, device=cells_NK2.device, dtype=cells_NK2.dtype)
    spread = 2 * CENTER_SIGMA_CELLS**2
    along_Nw = torch.exp(-((at_w - center_N2[:, 0:1]) ** 2) / spread)
    along_Nh = torch.exp(-((at_h - center_N2[:, 1:2]) ** 2) / spread)
    map_N1hw = (along_Nh.unsqueeze(-1) * along_Nw.unsqueeze(-2)).unsqueeze(1)
    return CenterTarget(
        center_N1hw=map_N1hw * has_center_N[:, None, None, None],
        cell_N2=center_N2.long() * has_center_N.unsqueeze(-1),
        offset_NK2=(cells_NK2 - center_N2.unsqueeze(1)) * seen_NK1,
        has_center_N=has_center_N,
    )


def offsets_at(offset_N2Khw: Tensor, cell_NC2: Tensor) -> Tensor:
    """Read offset_NCK2 of the network at given cells."""
    frames, channels, _, width = offset_N2Khw.shape
    index_NC = cell_NC2[..., 1] * width + cell_NC2[..., 0]
    flat_N2KL = offset_N2Khw.flatten(2)
    picked_N2KC = flat_N2KL.gather(2, index_NC.unsqueeze(1).expand(-1, channels, -1))
    return picked_N2KC.transpose(1, 2).reshape(frames, -1, channels // 2, 2)


def points_from_offsets(cell_NC2: Tensor, offset_NCK2: Tensor, stride: int) -> Tensor:
    """Pixels of the landmarks: the inverse of the target's (c, o)."""
    return cell_to_pixel(cell_NC2.unsqueeze(-2).to(offset_NCK2.dtype) + offset_NCK2, stride)


def decode_center(
    center_N1hw: Tensor, offset_N2Khw: Tensor, stride: int, top: int = MOST_FACES
) -> tuple[Tensor, Tensor]:
    """The `top` best faces of each frame: points_NCK2 in pixels and score_NC in [0, 1], best first.

    Only local maxima (3x3) of the centre map come forward; where there are fewer than `top`, the rest score 0.
    `center_N1hw` holds logits.
    """
    score_N1hw = center_N1hw.float().sigmoid()
    around_N1hw = torch.nn.functional.max_pool2d(score_N1hw, 3, stride=1, padding=1)
    peaks_NL = torch.where(score_N1hw == around_N1hw, score_N1hw, 0.0).flatten(1)
    score_NC, index_NC = peaks_NL.topk(min(top, peaks_NL.shape[1]), dim=1)
    cell_NC2 = cell_of(index_NC, center_N1hw.shape[-1])
    offset_NCK2 = offsets_at(offset_N2Khw.float(), cell_NC2)
    return points_from_offsets(cell_NC2, offset_NCK2, stride), score_NC


def agreement(
    points_NK2: Tensor, center_N1hw: Tensor, offset_N2Khw: Tensor, stride: int, sigma_px: float
) -> Tensor:
    """How alike the heatmaps' points and those of the best centre are: agreement_N, 1 where they are the same, falling
    with their distance in sigmas of the heatmaps."""
    faces_N1K2, _ = decode_center(center_N1hw, offset_N2Khw, stride, top=1)
    gap_NK = (points_NK2 - faces_N1K2[:, 0]).norm(dim=-1)
    return torch.exp(-gap_NK.square() / (4 * sigma_px**2)).mean(1)
