"""What one step computes: from a batch to loss terms. No files, no ranks, no optimiser.

    student   L_sup(labels) + the method's terms over each lesson that its labels give
    teacher   L_sup(labels) + the terms of its own lessons

A term is a sum and a count; `total_loss` divides by the counts of all ranks, so that one process and many take the
same step. Axes: S stages, N frames, K points, h w cells.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tsal_dist.config.train import LossConfig
from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.losses.supervised import center_loss, heatmap_loss, offset_loss
from tsal_dist.models.input import normalize
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import (
    Labeller,
    Lesson,
    LossTerm,
    NetOutput,
    Progress,
    Seen,
    StudentNet,
    Task,
    Terms,
)
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.target import Evidence, Targets, check_targets, named, truth_first

Forward = Callable[[Tensor], Any]


@dataclass(frozen=True)
class OwnPoints:
    """What the student saw of its pseudo-labelled frames, for the collapse gauge and for feedback."""

    points_NK2: Tensor
    peak_NK: Tensor


def make_targets(label: Labeller, evidence: Evidence, frames: Frames, counts: float = 1.0) -> Targets:
    """What a method's labels come to, and count: nothing where a frame could not be read; where it has the truth that comes
    first, and in full."""
    # A frame that nobody could read is black, and its labels are of a picture that is not there.
    read_N1 = (evidence.fresh_N > 0).to(evidence.score_NSK.dtype).unsqueeze(-1)
    given = check_targets(named(label(evidence)), *frames.visible_NK.shape)
    targets = {name: target.weighed(counts * read_N1) for name, target in given.items()}
    return truth_first(targets, frames.points_NK2, frames.visible_NK, frames.labelled_N)


def student_terms(
    forward: Forward,
    net: StudentNet,
    labelled: Frames,
    lessons: Sequence[Lesson],
    terms: Sequence[LossTerm],
    task: Task,
    apart: Callable[[], AbstractContextManager[None]] | None = None,
) -> tuple[Terms, OwnPoints | None]:
    """The student's loss terms: labels, and lessons where there are any. One forward pass over all of them; or, where a norm
    would make of a labelled frame what the others are, lessons in a pass of their own, within `apart`.

    The predictions are of the first lesson, by the first net.
    """
    others = [lesson.frames for lesson in lessons]
    if apart is None or not others:
        parts = _pass(forward, net, [labelled, *others])
    else:
        parts = _pass(forward, net, [labelled])
        with apart():
            parts = [mine + more for mine, more in zip(parts, _pass(forward, net, others), strict=True)]
    found = add_terms([supervised_terms(mine[0].maps, labelled, task) for mine in parts])
    for place, lesson in enumerate(lessons, 1):
        seen = Seen([mine[place] for mine in parts], lesson, task)
        found = add_terms([found, {term.name: term(seen) for term in terms}])
    if not lessons:
        return found, None
    heat_NKhw = parts[0][1].maps.points_heat_NKhw
    points_NK2, peak_NK = decode_heatmap(heat_NKhw.detach(), task.stride, task.radius)
    return found, OwnPoints(points_NK2, peak_NK)


def supervised_terms(output: DetectorOutput, frames: Frames, task: Task) -> Terms:
    """L_sup's three terms over the labelled frames."""
    size_hw = (output.heat_SNKhw.shape[-2], output.heat_SNKhw.shape[-1])
    heat_target = encode_heatmap(frames.points_NK2, frames.visible_NK, size_hw, task.stride, task.sigma_px)
    center_target = encode_center(frames.points_NK2, frames.visible_NK, size_hw, task.stride)
    taught_NK = frames.visible_NK | task.teaches_absent
    return {
        "heat": heatmap_loss(output.heat_SNKhw, heat_target, taught_NK, frames.labelled_N),
        "center": center_loss(output.center_N1hw, center_target),
        "offset": offset_loss(output.offset_N2Khw, center_target, frames.visible_NK),
    }


def supervised_weights(loss: LossConfig) -> dict[str, float]:
    """What the three terms of the labels are multiplied by."""
    return {"heat": 1.0, "center": loss.center, "offset": loss.offset}


def term_weights(terms: Sequence[LossTerm], progress: Progress, loss: LossConfig) -> dict[str, float]:
    """What every term of the student is multiplied by at this step."""
    return supervised_weights(loss) | {term.name: term.weight(progress) for term in terms}


def add_terms(many: Sequence[Terms]) -> Terms:
    """Sums and counts added up, name by name."""
    if len(many) == 1:
        return many[0]
    found: Terms = {}
    for terms in many:
        for name, term in terms.items():
            found[name] = found[name] + term if name in found else term
    return found


def total_loss(
    terms: Terms, counts: Mapping[str, Tensor], weights: Mapping[str, float], world: int
) -> Tensor:
    """The weighted sum of the terms, each divided by its count over all ranks."""
    parts = [weights[name] * term.mean(counts[name], world) for name, term in terms.items()]
    return torch.stack(parts).sum()


def _pass(forward: Forward, net: StudentNet, groups: Sequence[Frames]) -> list[list[NetOutput]]:
    """What each net says of each group of frames, all in one pass."""
    given = net.outputs(forward(normalize(torch.cat([each.image_NHWC for each in groups]))))
    return [_split(each, [len(one) for one in groups]) for each in given]


def _split(output: NetOutput, sizes: list[int]) -> list[NetOutput]:
    """The output for consecutive groups of frames.

    By `split`: slices would each give back a gradient of the whole output, mostly zeros.
    """
    maps = split_output(output.maps, sizes)
    more = {name: torch.split(value, sizes) for name, value in output.more.items()}
    return [
        NetOutput(part, {name: values[place] for name, values in more.items()})
        for place, part in enumerate(maps)
    ]


def split_output(output: DetectorOutput, sizes: list[int]) -> list[DetectorOutput]:
    """A detector's maps for consecutive groups of frames."""
    heats = torch.split(output.heat_SNKhw, sizes, dim=1)
    centers, offsets = (torch.split(part, sizes) for part in output[1:])
    return [DetectorOutput(*parts) for parts in zip(heats, centers, offsets, strict=True)]
