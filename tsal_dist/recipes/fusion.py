"""Several sources to one point, and how far apart they were.

Two sources, a track T and detections D: Y = mu T + (1 - mu) D*, D* being the detection nearest to T; the
distance is |T - D*|. This is the paper's fusion, and `fuse_nearest` here.

Three or more: each coordinate's weighted median, which one wrong source cannot move far. The distance is twice
the median of the sources' distances to it: for two sources the same number as above, and small as soon as a
majority agrees.
"""

from itertools import accumulate

import torch
from torch import Tensor


def fuse_nearest(track_NK2: Tensor, detections_NDK2: Tensor, track_share: float) -> tuple[Tensor, Tensor]:
    """Fused points_NK2 and distance_NK between the track and its nearest detection, point by point."""
    gap_NDK = (detections_NDK2 - track_NK2.unsqueeze(1)).norm(dim=-1)
    distance_NK, nearest_NK = gap_NDK.min(dim=1)
    picked = nearest_NK[:, None, :, None].expand(-1, 1, -1, 2)
    detection_NK2 = detections_NDK2.gather(1, picked).squeeze(1)
    return track_share * track_NK2 + (1 - track_share) * detection_NK2, distance_NK


def fuse_median(points_NSK2: Tensor, weight_NSK: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted median points_NK2 and distance_NK of the sources; a source of weight 0 has no voice.

    A point with fewer than two voices has nobody to agree with: its distance is infinite.
    """
    points_NK2 = weighted_median(points_NSK2, weight_NSK.unsqueeze(-1).expand_as(points_NSK2))
    gap_NSK = (points_NSK2 - points_NK2.unsqueeze(1)).norm(dim=-1)
    voices_NK = (weight_NSK > 0).sum(1)
    distance_NK = 2 * weighted_median(gap_NSK, (weight_NSK > 0).to(gap_NSK.dtype))
    return points_NK2, torch.where(voices_NK >= 2, distance_NK, torch.inf)


def weighted_median(value_NS: Tensor, weight_NS: Tensor) -> Tensor:
    """Median over axis 1: halfway between the last value below half of the weight and the first one above.

    Axes after S are free. Without any weight the result says nothing, and callers give it no weight themselves.
    """
    value_NS, order_NS = value_NS.sort(dim=1)
    # By hand, since a GPU has no cumsum that always adds in one order.
    sum_NS = torch.stack(list(accumulate(weight_NS.gather(1, order_NS).unbind(1))), 1)
    half_N1 = sum_NS[:, -1:] / 2
    # Exactly half on both sides is a tie, which the mean of the two middle values breaks, as for plain medians.
    low_N1 = (sum_NS < half_N1 * (1 - 1e-6)).sum(dim=1, keepdim=True)
    high_N1 = (sum_NS <= half_N1 * (1 + 1e-6)).sum(dim=1, keepdim=True)
    last = value_NS.shape[1] - 1
    return (
        (value_NS.gather(1, low_N1.clamp(max=last)) + value_NS.gather(1, high_N1.clamp(max=last))) / 2
    ).squeeze(1)
