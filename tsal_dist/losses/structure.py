"""The structure-invariant constraint: a face keeps its size from frame to frame, labelled or not.

Axes: B clips, T frames, K points; N = B * T frames, the frames of a clip together.
"""

import torch
from torch import Tensor

from tsal_dist.geometry.center import offsets_at
from tsal_dist.geometry.heatmap import cell_of
from tsal_dist.losses.term import Term


def structure_loss(offset_BTK2: Tensor, face_B: Tensor) -> Term:
    """Mean over pairs t < u of a clip of (m_t - m_u)^2, with m_t = sum_k |o_tk|^2 / K / face^2; count: clips.

    `face_B` is the size of the face in the unit of the offsets: cells. The mean over pairs is twice the unbiased
    variance of m. A clip of one frame says nothing and is not counted.
    """
    if offset_BTK2.shape[1] < 2:
        return Term(offset_BTK2.sum() * 0, torch.zeros((), device=offset_BTK2.device))
    size_BT = offset_BTK2.float().square().sum(-1).mean(-1) / face_B.unsqueeze(-1).square()
    return Term(2 * size_BT.var(dim=1).sum(), torch.full((), float(len(face_B)), device=face_B.device))


def best_offsets(center_N1hw: Tensor, offset_N2Khw: Tensor) -> Tensor:
    """Offset_NK2 of the face that each frame's own centre map finds; for frames without a true centre.

    The gradient flows through the offsets, not through the choice of the cell.
    """
    index_N1 = center_N1hw.flatten(1).argmax(1, keepdim=True)
    cell_N12 = cell_of(index_N1, center_N1hw.shape[-1])
    return offsets_at(offset_N2Khw, cell_N12).squeeze(1)
