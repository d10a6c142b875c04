"""What unlabelled frames teach: the teacher by one source, the student by the fusion of several.

Axes: S stages, N frames, K points, h w cells.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.losses.term import Term


def tracking_consistency(heat_SNKhw: Tensor, rebuilt_SNKhw: Tensor, valid_N1HW: Tensor) -> Term:
    """Teacher: 1/2 sum over stages, maps and valid cells of (H(x_t) - sg H(x~_t))^2; count: valid cells / (h w).

    x~_t is frame t rebuilt from frame t - 1 by the flow, and valid where that flow is. The quotient is h w times
    the mean over valid cells: what a labelled frame's heatmap loss would be, however much was occluded.
    """
    cells_hw = (heat_SNKhw.shape[-2], heat_SNKhw.shape[-1])
    valid_N1hw = valid_cells(valid_N1HW, cells_hw)
    error_SNKhw = (heat_SNKhw.float() - rebuilt_SNKhw.detach().float()).square()
    return Term((error_SNKhw * valid_N1hw).sum() / 2, valid_N1hw.sum() / (cells_hw[0] * cells_hw[1]))


def valid_cells(valid_N1HW: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """1 for a cell all of whose pixels are valid, else 0."""
    invalid_N1hw = F.adaptive_max_pool2d(1 - valid_N1HW.float(), size_hw)
    return 1 - invalid_N1hw


def coordinate_loss(
    points_NK2: Tensor, label_NK2: Tensor, weight_NK: Tensor, sigma_px: float, reach: float, window_px: float
) -> Term:
    """Student: sum over points of weight * huber(|P - sg Y| / sigma); count: all frames of the batch.

    huber(d) = d^2 up to `reach` and 2 reach d - reach^2 beyond. A point whose label is more than `window_px` away in
    either direction counts nothing. Divided by frames and not by points that survived: a batch in which the sources
    agree on three points should not shout as loud as one in which they agree on all.
    """
    gap_NK2 = points_NK2.float() - _known(label_NK2, weight_NK)
    near_NK = (gap_NK2.detach().abs() <= window_px).all(-1)
    squared_NK = gap_NK2.square().sum(-1) / sigma_px**2
    far_NK = squared_NK > reach**2
    # A root has no gradient at zero, so none is taken where the square is meant.
    straight_NK = 2 * reach * torch.where(far_NK, squared_NK, reach**2 + 1.0).sqrt() - reach**2
    error_NK = torch.where(far_NK, straight_NK, squared_NK)
    return Term((error_NK * weight_NK * near_NK).sum(), _frames(points_NK2))


def label_heatmap_loss(heat_SNKhw: Tensor, target_NKhw: Tensor, weight_NK: Tensor) -> Term:
    """Student: 1/2 sum over stages, points and cells of weight (H - H(Y))^2; count: all frames of the batch.

    The background map weighs nothing: where some points have no label, what is background is not known. It is not cut
    off, since a slice gives back a gradient of all maps once more.
    """
    error_SNK = (heat_SNKhw.float() - target_NKhw).square().sum((-2, -1))
    return Term((error_SNK * F.pad(weight_NK, (0, 1))).sum() / 2, _frames(weight_NK))


def _known(label_NK2: Tensor, weight_NK: Tensor) -> Tensor:
    """Where the weight is 0 a label may be anything, and not a number times 0 is not a number."""
    return torch.where(weight_NK.unsqueeze(-1) > 0, label_NK2.detach(), 0.0)


def _frames(per_frame: Tensor) -> Tensor:
    return torch.full((), float(len(per_frame)), device=per_frame.device)
