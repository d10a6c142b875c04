"""What one step computes: from a batch to loss terms. No files, no ranks, no optimiser.

    student   L_sup(labels) + u [ coordinate + heatmap of the pseudo-labels ] + s * structure
    teacher   L_sup(labels) + u * agreement with the frame rebuilt from its neighbour + s * structure

A term is a sum and a count; `total_loss` divides by the counts of all ranks, so that one process and many take the
same step. Axes: S stages, N frames, B clips, T frames of a clip, K points, h w cells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tsal_dist.config.train import LossConfig
from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.geometry.warp import warp
from tsal_dist.losses.consistency import coordinate_loss, label_heatmap_loss, tracking_consistency
from tsal_dist.losses.structure import best_offsets, structure_loss
from tsal_dist.losses.supervised import center_loss, heatmap_loss, offset_loss
from tsal_dist.losses.term import Term
from tsal_dist.models.input import normalize
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.labelling import Pairs
from tsal_dist.recipes.target import Target
from tsal_dist.trackers.flow import Flow

Forward = Callable[[Tensor], DetectorOutput]
Terms = dict[str, Term]


@dataclass(frozen=True)
class Scale:
    """The sizes that a step has to know."""

    stride: int
    """Pixels per heatmap cell."""
    radius: int
    sigma_px: float


@dataclass(frozen=True)
class Predictions:
    """What the student saw of its pseudo-labelled frames, for the collapse gauge and for feedback."""

    points_NK2: Tensor
    peak_NK: Tensor


def student_terms(
    forward: Forward, labelled: Frames, unlabelled: Frames | None, target: Target | None, scale: Scale
) -> tuple[Terms, Predictions | None]:
    """The student's loss terms: labels, and pseudo-labels where there are any. One forward pass."""
    images = [labelled.image_NHWC] + ([unlabelled.image_NHWC] if unlabelled else [])
    output = forward(normalize(torch.cat(images)))
    mine, theirs = split_output(output, len(labelled))
    terms = supervised_terms(mine, labelled, scale)
    if unlabelled is None or target is None:
        return terms, None
    points_NK2, peak_NK = decode_heatmap(theirs.points_heat_NKhw, scale.stride, scale.radius)
    terms["coordinate"] = coordinate_loss(points_NK2, target.points_NK2, target.weight_NK, scale.sigma_px)
    terms["label_heat"] = label_heatmap_loss(
        theirs.heat_SNKhw, target.points_NK2, target.weight_NK, scale.stride, scale.sigma_px
    )
    terms["structure"] = structure_term(theirs, unlabelled, scale)
    return terms, Predictions(points_NK2.detach(), peak_NK.detach())


def teacher_terms(
    forward: Forward,
    forward_no_grad: Forward,
    labelled: Frames,
    unlabelled: Frames,
    pairs: Pairs,
    flow: Flow,
    scale: Scale,
) -> Terms:
    """The teacher's loss terms. One forward pass with a graph over all frames, one without over the rebuilt ones.

    `flow` goes from the frame before to the frame after; a frame is rebuilt by the way back.
    """
    images_N3HW = normalize(torch.cat([labelled.image_NHWC, unlabelled.image_NHWC]))
    mine, theirs = split_output(forward(images_N3HW), len(labelled))
    terms = supervised_terms(mine, labelled, scale)
    clip_N3HW = images_N3HW[len(labelled) :]
    with torch.no_grad():
        rebuilt_P3HW, inside_P1HW = warp(clip_N3HW[pairs.before_P], flow.backward_N2HW)
        rebuilt = forward_no_grad(rebuilt_P3HW)
        valid_P1HW = inside_P1HW & flow.reverse.valid_N1HW
    terms["tracking"] = tracking_consistency(
        theirs.heat_SNKhw[:, pairs.after_P], rebuilt.heat_SNKhw, valid_P1HW
    )
    terms["structure"] = structure_term(theirs, unlabelled, scale)
    return terms


def supervised_terms(output: DetectorOutput, frames: Frames, scale: Scale) -> Terms:
    """L_sup's three terms over the labelled frames."""
    size_hw = (output.heat_SNKhw.shape[-2], output.heat_SNKhw.shape[-1])
    heat_target = encode_heatmap(frames.points_NK2, frames.visible_NK, size_hw, scale.stride, scale.sigma_px)
    center_target = encode_center(frames.points_NK2, frames.visible_NK, size_hw, scale.stride)
    return {
        "heat": heatmap_loss(output.heat_SNKhw, heat_target, frames.visible_NK, frames.labelled_N),
        "center": center_loss(output.center_N1hw, center_target),
        "offset": offset_loss(output.offset_N2Khw, center_target, frames.visible_NK),
    }


def structure_term(output: DetectorOutput, frames: Frames, scale: Scale) -> Term:
    """The face keeps its size over the frames of a clip, whether anyone labelled them or not."""
    offset_NK2 = best_offsets(output.center_N1hw, output.offset_N2Khw.float())
    offset_BTK2 = offset_NK2.view(-1, frames.clip_frames, *offset_NK2.shape[1:])
    return structure_loss(offset_BTK2, frames.face_px_B / scale.stride)


def split_output(output: DetectorOutput, first: int) -> tuple[DetectorOutput, DetectorOutput]:
    """The first so many frames of an output, and the others.

    By `split`: two slices would each give back a gradient of the whole output, mostly zeros.
    """
    sizes = [first, len(output.center_N1hw) - first]
    heats = torch.split(output.heat_SNKhw, sizes, dim=1)
    centers, offsets = (torch.split(part, sizes) for part in output[1:])
    mine, theirs = (DetectorOutput(*parts) for parts in zip(heats, centers, offsets, strict=True))
    return mine, theirs


def term_weights(loss: LossConfig, unlabelled: float) -> dict[str, float]:
    """What each term is multiplied by; `unlabelled` is this step's share of what unlabelled frames teach."""
    return {
        "heat": 1.0,
        "center": loss.center,
        "offset": loss.offset,
        "coordinate": unlabelled * loss.coordinate,
        "label_heat": unlabelled * loss.heat,
        "tracking": unlabelled,
        "structure": loss.structure * (unlabelled > 0),
    }


def total_loss(
    terms: Terms, counts: Mapping[str, Tensor], weights: Mapping[str, float], world: int
) -> Tensor:
    """The weighted sum of the terms, each divided by its count over all ranks."""
    parts = [weights[name] * term.mean(counts[name], world) for name, term in terms.items()]
    return torch.stack(parts).sum()
