"""What labelled boxes teach a net that finds subjects: where their middles are, and nowhere else; and how large they are.

L_box = focal / subjects + mean over the taught cells of (1 - GIoU). A frame without a subject is taught to have none.
Axes: N frames, h w cells.
"""

import torch
from torch import Tensor

from tsal_dist.geometry.boxes import BoxTarget, corners_of
from tsal_dist.losses.supervised import focal_loss


def box_loss(maps_N5hw: Tensor, target: BoxTarget) -> Tensor:
    """Of one stage's maps."""
    subjects = (target.middle_N1hw == 1).sum().clamp_min(1)
    middle = focal_loss(maps_N5hw[:, :1], target.middle_N1hw).sum() / subjects
    taught_Nhw = target.taught_N1hw.squeeze(1)
    found_M4 = corners_of(maps_N5hw.float()).permute(0, 2, 3, 1)[taught_Nhw]
    true_M4 = target.corner_N4hw.permute(0, 2, 3, 1)[taught_Nhw]
    return middle + (1 - generalized_iou(found_M4, true_M4)).sum() / max(1, len(true_M4))


def generalized_iou(one_M4: Tensor, other_M4: Tensor) -> Tensor:
    """Intersection over union, less the share of the box around both that neither covers: -1 to 1."""
    shared_M = _area(
        torch.maximum(one_M4[:, :2], other_M4[:, :2]), torch.minimum(one_M4[:, 2:], other_M4[:, 2:])
    )
    around_M = _area(
        torch.minimum(one_M4[:, :2], other_M4[:, :2]), torch.maximum(one_M4[:, 2:], other_M4[:, 2:])
    )
    both_M = _area(one_M4[:, :2], one_M4[:, 2:]) + _area(other_M4[:, :2], other_M4[:, 2:]) - shared_M
    return shared_M / both_M - (around_M - both_M) / around_M


def _area(low_M2: Tensor, high_M2: Tensor) -> Tensor:
    return (high_M2 - low_M2).clamp_min(0).prod(1)
