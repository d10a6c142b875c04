"""What a student may learn from pseudo-labelled frames. Each term has a name, a share, and rises with the ramp.

Axes: S stages, N frames, B clips, T frames of a clip, K points, h w cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.losses.consistency import coordinate_loss, label_heatmap_loss
from tsal_dist.losses.structure import best_offsets, structure_loss
from tsal_dist.losses.term import Term
from tsal_dist.models.embedding import sample_at
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import Progress, Seen, Task
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.target import TEACHER, Target


@dataclass(frozen=True)
class TargetTerm:
    """What every term that learns from a target has."""

    share: float = 1.0
    target: str = TEACHER
    name: str = ""

    def weight(self, progress: Progress) -> float:
        return self.share * progress.weight


@dataclass(frozen=True)
class TargetHeatmaps(TargetTerm):
    """The student's maps at all stages against the target's, by the target's weights."""

    name: str = "label_heat"

    def __call__(self, seen: Seen) -> Term:
        target = seen.target(self.target)
        return sum_over_nets(
            seen,
            lambda maps: label_heatmap_loss(
                maps.heat_SNKhw, target_maps(target, maps, seen.task), target.weight_NK
            ),
        )


@dataclass(frozen=True)
class StageHeatmaps(TargetTerm):
    """As `TargetHeatmaps`, but the last stage counts in full and each one before it half of the next."""

    name: str = "label_heat"

    def __call__(self, seen: Seen) -> Term:
        target = seen.target(self.target)

        def one(maps: DetectorOutput) -> Term:
            wanted_NKhw = target_maps(target, maps, seen.task)
            stages = maps.heat_SNKhw.unbind(0)
            terms = [
                label_heatmap_loss(stage.unsqueeze(0), wanted_NKhw, target.weight_NK) for stage in stages
            ]
            halves = [2.0 ** (place - len(stages) + 1) * term.total for place, term in enumerate(terms)]
            return Term(torch.stack(halves).sum(), terms[0].count)

        return sum_over_nets(seen, one)


@dataclass(frozen=True)
class TargetCoordinates(TargetTerm):
    """The student's decoded points against the target's, in sigmas: squared up to `reach` sigmas, straight beyond.

    A decoded point sees a window around the student's own peak only. A target outside of it would smear what is inside,
    so such a point is left to the heatmaps; and a squared distance would let one far point outweigh all near ones.
    """

    name: str = "coordinate"
    reach: float = 1.0

    def __call__(self, seen: Seen) -> Term:
        target, task = seen.target(self.target), seen.task

        def one(maps: DetectorOutput) -> Term:
            points_NK2, _ = decode_heatmap(maps.points_heat_NKhw, task.stride, task.radius)
            return coordinate_loss(
                points_NK2,
                target.points_NK2,
                target.place_weight_NK,
                task.sigma_px,
                self.reach,
                task.radius * task.stride,
            )

        return sum_over_nets(seen, one)


@dataclass(frozen=True)
class EmbeddingDirection(TargetTerm):
    """1 - cosine between the student's embedding at a point and the one that the target brings.

    Not where a point is the truth: the teacher saw what it brings at the place that it took for the point.
    """

    name: str = "embedding"

    def __call__(self, seen: Seen) -> Term:
        target = seen.target(self.target)
        # On a CPU torch writes beside the gradient for a point that is no number.
        mine_NKD = sample_at(seen.nets[0].more["embedding"], target.place_NK2, seen.task.crop_px)
        apart_NK = 1 - F.cosine_similarity(mine_NKD, target.more["embedding"].float(), dim=-1)
        return Term((apart_NK * target.more_weight_NK).sum(), apart_NK.new_full((), len(apart_NK)))


@dataclass(frozen=True)
class Structure:
    """A subject keeps its size over the frames of a clip, whether anyone labelled them or not."""

    share: float = 0.01
    name: str = "structure"

    def weight(self, progress: Progress) -> float:
        return self.share * (progress.weight > 0)

    def __call__(self, seen: Seen) -> Term:
        return sum_over_nets(seen, lambda maps: structure_term(maps, seen.lesson.frames, seen.task))


def structure_term(output: DetectorOutput, frames: Frames, task: Task) -> Term:
    """The constraint on one net's offsets."""
    offset_NK2 = best_offsets(output.center_N1hw, output.offset_N2Khw.float())
    offset_BTK2 = offset_NK2.view(-1, frames.clip_frames, *offset_NK2.shape[1:])
    return structure_loss(offset_BTK2, frames.face_px_B / task.stride)


def target_maps(target: Target, maps: DetectorOutput, task: Task) -> Tensor:
    """Heat_NKhw that a target asks for: its soft maps, and gaussians where it has none or knows the truth."""
    size_hw = (maps.heat_SNKhw.shape[-2], maps.heat_SNKhw.shape[-1])
    known_NK = target.place_weight_NK > 0
    hard_NKhw = encode_heatmap(target.place_NK2, known_NK, size_hw, task.stride, task.sigma_px)
    if target.heat_NKhw is None:
        return hard_NKhw
    if target.heat_NKhw.shape[2:] != size_hw:
        raise ConfigError(
            f"The method's labeller gave soft maps of {tuple(target.heat_NKhw.shape[2:])} cells, and the student's have "
            f"{size_hw}. Lay them on crop_px // stride cells each way."
        )
    soft_NKhw = torch.where(known_NK[..., None, None], target.heat_NKhw.detach(), 0.0)
    soft_NKhw = torch.cat([soft_NKhw, 1 - soft_NKhw.amax(1, keepdim=True)], 1)
    if target.truth_N is None:
        return soft_NKhw
    return torch.where(target.truth_N[:, None, None, None], hard_NKhw, soft_NKhw)


def sum_over_nets(seen: Seen, one: Callable[[DetectorOutput], Term]) -> Term:
    """The same term of every net of the student, added up."""
    return reduce(add, (one(net.maps) for net in seen.nets))
