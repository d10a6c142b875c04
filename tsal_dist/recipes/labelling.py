"""What a teacher says of unlabelled clips: one forward pass per frame and view, one flow per pair of neighbours.

heatmap   each map's peak and its height, averaged over the views
center    the best-scored face of the centre map and its offsets. Its score alone decides, not its distance to
          the heatmap's points: agreement that was chosen for proves nothing.
track     the heatmap's points of the frame before, and of the frame after, carried here by flow. Where both
          arrive they are averaged by trust, so a clip's first and last frame have a track too.

Axes: B clips, T frames, N = B T, S sources, K points, P pairs of neighbours.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tsal_dist.geometry.center import decode_center
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.models.input import normalize
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.frames import Answers, Frames
from tsal_dist.recipes.views import Turn, turn_back, turn_image, turns
from tsal_dist.trackers.carry import Carried, carry_points
from tsal_dist.trackers.flow import Flow, Tracker


class Limits(NamedTuple):
    """Where a track ends to be trusted."""

    max_error_px: float
    max_move_px: float


class Pairs(NamedTuple):
    """Neighbours within the clips of a flat batch: frame before_P and frame after_P."""

    before_P: Tensor
    after_P: Tensor


def neighbours(frames: Frames) -> Pairs:
    """Every pair of consecutive frames of one clip; none across clips."""
    index_BT = torch.arange(len(frames), device=frames.image_NHWC.device).view(-1, frames.clip_frames)
    return Pairs(index_BT[:, :-1].flatten(), index_BT[:, 1:].flatten())


def find_flow(tracker: Tracker, frames: Frames, pairs: Pairs) -> Flow:
    """The flow of all pairs at once, from the frame before to the frame after."""
    return tracker(frames.image_NHWC[pairs.before_P], frames.image_NHWC[pairs.after_P])


@torch.no_grad()
def label(
    forward: Callable[[Tensor], DetectorOutput],
    tracker: Tracker,
    frames: Frames,
    sources: tuple[str, ...],
    *,
    stride: int,
    radius: int,
    views: int,
    limits: Limits,
) -> Answers:
    """The chosen sources' answers for every frame and point."""
    output = forward(normalize(frames.image_NHWC))
    points_NK2, score_NK = decode_heatmap(output.points_heat_NKhw, stride, radius)
    if views > 1:
        more = [
            _seen_turned(forward, frames.image_NHWC, turn, stride, radius)
            for turn in turns(views - 1, points_NK2.shape[1])
        ]
        points_NK2, score_NK = _average([(points_NK2, score_NK), *more])
    everywhere_NK = torch.ones_like(score_NK, dtype=torch.bool)
    found: dict[str, tuple[Tensor, Tensor, Tensor]] = {"heatmap": (points_NK2, score_NK, everywhere_NK)}
    if "center" in sources:
        faces_NCK2, face_score_NC = decode_center(output.center_N1hw, output.offset_N2Khw, stride)
        found["center"] = (faces_NCK2[:, 0], face_score_NC[:, :1].expand_as(score_NK), everywhere_NK)
    error_NK = torch.zeros_like(score_NK)
    if "track" in sources:
        pairs = neighbours(frames)
        flow = find_flow(tracker, frames, pairs)
        *track, error_NK = _track(flow, pairs, points_NK2, score_NK, limits)
        found["track"] = (track[0], track[1], track[2])
    return Answers(
        points_NSK2=torch.stack([found[source][0] for source in sources], 1),
        score_NSK=torch.stack([found[source][1] for source in sources], 1),
        valid_NSK=torch.stack([found[source][2] for source in sources], 1),
        fb_error_NK=error_NK,
    )


def _track(
    flow: Flow, pairs: Pairs, points_NK2: Tensor, score_NK: Tensor, limits: Limits
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, score, validity and forward-backward error of the track source."""
    sum_NK3 = torch.zeros(*score_NK.shape, 3, device=score_NK.device)
    trust_NK = torch.zeros_like(score_NK)
    error_NK = torch.full_like(score_NK, torch.inf)
    for way, start_P, end_P in ((flow, *pairs), (flow.reverse, pairs.after_P, pairs.before_P)):
        carried: Carried = carry_points(
            way, points_NK2[start_P], max_error_px=limits.max_error_px, max_move_px=limits.max_move_px
        )
        trust_PK = carried.valid_NK / (1 + carried.error_NK)
        carried_PK3 = torch.cat([carried.points_NK2, score_NK[start_P].unsqueeze(-1)], -1)
        sum_NK3.index_add_(0, end_P, carried_PK3 * trust_PK.unsqueeze(-1))
        trust_NK.index_add_(0, end_P, trust_PK)
        usable_PK = torch.where(carried.valid_NK, carried.error_NK, torch.inf)
        error_NK[end_P] = torch.minimum(error_NK[end_P], usable_PK)
    valid_NK = trust_NK > 0
    mean_NK3 = sum_NK3 / trust_NK.clamp_min(1e-12).unsqueeze(-1)
    return mean_NK3[..., :2], mean_NK3[..., 2], valid_NK, torch.where(valid_NK, error_NK, 0.0)


def _seen_turned(
    forward: Callable[[Tensor], DetectorOutput], image_NHWC: Tensor, turn: Turn, stride: int, radius: int
) -> tuple[Tensor, Tensor]:
    """Points and scores of another view, brought back to the first."""
    turned_NHWC = turn_image(image_NHWC, turn)
    points_NK2, score_NK = decode_heatmap(forward(normalize(turned_NHWC)).points_heat_NKhw, stride, radius)
    return turn_back(points_NK2, score_NK, turn, image_NHWC.shape[1])


def _average(seen: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The views' points, weighed by how sure each view is; the mean score."""
    points_VNK2 = torch.stack([points for points, _ in seen])
    score_VNK = torch.stack([score for _, score in seen])
    weight_VNK1 = score_VNK.clamp_min(1e-6).unsqueeze(-1)
    return (points_VNK2 * weight_VNK1).sum(0) / weight_VNK1.sum(0), score_VNK.mean(0)
