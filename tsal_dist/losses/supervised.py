"""What labelled frames teach: heatmaps, the centre, the offsets.

L_sup = heatmap + a * center + b * offset, each over the labelled frames of the role's whole batch. Unlabelled
frames may be in the batch; they add nothing. Axes: S stages, N frames, K points, h w cells.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.geometry.center import CenterTarget, offsets_at
from tsal_dist.losses.term import Term

# Keeps the logarithms finite where a sigmoid has saturated.
CLAMP = 1e-4


def heatmap_loss(heat_SNKhw: Tensor, target_NKhw: Tensor, visible_NK: Tensor, labelled_N: Tensor) -> Term:
    """1/2 sum over stages, visible points and cells of (H - H*)^2; count: labelled frames.

    The last map is the background, which is known wherever a frame is labelled. `visible_NK` is about the points, and a
    point that is taught though its target is empty is taught to be absent.
    """
    known_N1 = labelled_N.to(torch.float32).unsqueeze(-1)
    mask_NK = torch.cat([visible_NK.to(torch.float32) * known_N1, known_N1], dim=-1)
    error_SNK = (heat_SNKhw.float() - target_NKhw).square().sum((-2, -1))
    return Term((error_SNK * mask_NK).sum() / 2, known_N1.sum())


def center_loss(center_N1hw: Tensor, target: CenterTarget) -> Term:
    """`focal_loss` of the centre map; count: frames with a centre."""
    per_frame_N = focal_loss(center_N1hw, target.center_N1hw)
    has_center_N = target.has_center_N.to(per_frame_N.dtype)
    return Term((per_frame_N * has_center_N).sum(), has_center_N.sum())


def focal_loss(logit_N1hw: Tensor, goal_N1hw: Tensor) -> Tensor:
    """Penalty-reduced focal loss of each frame, p = sigmoid(logit), Y the target:

    - sum over cells of (1 - p)^2 log p where Y = 1, and (1 - Y)^4 p^2 log(1 - p) elsewhere
    """
    p = logit_N1hw.float().sigmoid().clamp(CLAMP, 1 - CLAMP)
    hit = (1 - p).square() * p.log()
    miss = (1 - goal_N1hw).pow(4) * p.square() * (1 - p).log()
    return -torch.where(goal_N1hw == 1, hit, miss).sum((1, 2, 3))


def offset_loss(offset_N2Khw: Tensor, target: CenterTarget, visible_NK: Tensor) -> Term:
    """Sum of smoothL1(o - o*) at the true centre over the coordinates of visible points; count: those coordinates.

    smoothL1(e) = e^2 / 2 for |e| < 1 cell, |e| - 1/2 beyond.
    """
    offset_NK2 = offsets_at(offset_N2Khw.float(), target.cell_N2.unsqueeze(1)).squeeze(1)
    mask_NK1 = (visible_NK.bool() & target.has_center_N.unsqueeze(-1)).to(offset_NK2.dtype).unsqueeze(-1)
    error_NK2 = F.smooth_l1_loss(offset_NK2, target.offset_NK2, reduction="none")
    return Term((error_NK2 * mask_NK1).sum(), 2 * mask_NK1.sum())
