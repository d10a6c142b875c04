"""What a score means in pixels: the error a landmark is expected to have, learnt from frames whose truth is known.

A `Tally` adds up, per landmark, by how much points of some score were off. `fit_tally` turns it into a `Calibration`: one curve per landmark, falling with the score. Where a landmark was seen
seldom, its curve is that of all landmarks, stretched by how much harder it is on the whole. A score of 0 means no evidence; from 1 on it is as good as it gets.

Axes: N frames, K points, B bins of score, g groups of bins, G knots of a curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.metrics.isotonic import rising

Floats = NDArray[np.float64]

SCORE_BINS = 100
MOST_PX = 1000.0
"""Larger errors, and predictions that are no number, count as this."""
FEWEST, MOST_KNOTS = 30, 24
"""Neighbouring bins of score are joined until each holds so many points, and until so few knots are left."""
PRIOR = 20.0
"""How many points a landmark must have, in all and at a knot, to be believed as much as what all of them say."""


class Tally:
    """Points by landmark and score: how many, and by how much they were off."""

    def __init__(self, num_points: int) -> None:
        self.num_points = num_points
        self.count_KB = np.zeros((num_points, SCORE_BINS))
        self.error_sum_KB = np.zeros((num_points, SCORE_BINS))
        self.score_sum_B = np.zeros(SCORE_BINS)
        self.worst_px = 0.0

    def add(
        self,
        score_NK: NDArray[np.floating],
        error_px_NK: NDArray[np.floating],
        visible_NK: NDArray[np.bool_],
    ) -> None:
        """Count N frames; a point whose truth is not visible teaches nothing."""
        if not score_NK.shape == error_px_NK.shape == visible_NK.shape == (len(score_NK), self.num_points):
            raise DataError(
                f"Scores {score_NK.shape}, errors {error_px_NK.shape} and visibility {visible_NK.shape} should all "
                f"be (frames, {self.num_points}). Calibrate with the landmark layout of the detector."
            )
        _, point_M = np.nonzero(visible_NK)
        score_M = np.clip(np.nan_to_num(score_NK[visible_NK].astype(np.float64), nan=0.0), 0.0, 1.0)
        error_M = error_px_NK[visible_NK].astype(np.float64)
        error_M = np.clip(np.nan_to_num(error_M, nan=MOST_PX, posinf=MOST_PX), 0.0, MOST_PX)
        bin_M = np.minimum((score_M * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        np.add.at(self.count_KB, (point_M, bin_M), 1.0)
        np.add.at(self.error_sum_KB, (point_M, bin_M), error_M)
        np.add.at(self.score_sum_B, bin_M, score_M)
        self.worst_px = max([self.worst_px, *error_M.tolist()])

    def counts(self) -> dict[str, Floats]:
        """What was counted, by name: numbers that can be added to those of others."""
        return {
            "count_KB": self.count_KB,
            "error_sum_KB": self.error_sum_KB,
            "score_sum_B": self.score_sum_B,
        }

    def add_counts(self, counts: Mapping[str, Floats]) -> None:
        """Count what somebody else has counted."""
        for name, mine in self.counts().items():
            mine += counts[name]

    def fade(self, keep: float) -> None:
        """Let everything that was counted so far weigh `keep` of what it did."""
        for mine in self.counts().values():
            mine *= keep


@dataclass(frozen=True)
class Calibration:
    """Curves over scores, per landmark. Pixels are those in which the errors were counted: the crop's."""

    knot_G: Tensor
    """Scores in rising order, from 0; between two of them a curve is straight, after the last it is level."""
    expected_KG: Tensor
    """Mean error in pixels, falling."""
    seen_K: Tensor
    """How many points of each landmark were counted."""

    def expected_px(self, score_NK: Tensor) -> Tensor:
        """The mean error of points with these scores."""
        left_NK, share_NK, point_NK = self._place(score_NK)
        table_KG = self.expected_KG.to(share_NK.device)
        return torch.lerp(table_KG[point_NK, left_NK], table_KG[point_NK, left_NK + 1], share_NK)

    def _place(self, score_NK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each point the knot to its left, how far it is to the next one, and its landmark."""
        if score_NK.shape[-1] != len(self.expected_KG):
            raise DataError(
                f"There are scores of {score_NK.shape[-1]} landmarks, and the calibration is of "
                f"{len(self.expected_KG)}. Use the calibration of the same detector."
            )
        knots_G = self.knot_G.to(score_NK.device)
        known_NK = score_NK.to(knots_G.dtype).nan_to_num(0.0).clamp(0.0, float(knots_G[-1])).contiguous()
        left_NK, share_NK = _between(knots_G, known_NK)
        point_NK = torch.arange(score_NK.shape[-1], device=score_NK.device).expand(score_NK.shape)
        return left_NK, share_NK, point_NK

    def to_tensors(self) -> dict[str, Tensor]:
        """By name, as safetensors stores them."""
        return {each.name: getattr(self, each.name).contiguous() for each in fields(self)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "Calibration":
        """Undoes `to_tensors`; other names are left alone."""
        wanted = [each.name for each in fields(Calibration)]
        missing = [name for name in wanted if name not in tensors]
        if missing:
            raise CheckpointError(
                f"The calibration lacks {', '.join(missing)}. Measure the detector again to make a new one."
            )
        made = Calibration(**{name: tensors[name] for name in wanted})
        points, knots = made.seen_K.numel(), made.knot_G.numel()
        if made.expected_KG.shape != (points, knots):
            raise CheckpointError(
                f"The calibration's table of {tuple(made.expected_KG.shape)} does not fit its {points} landmarks and {knots} "
                f"knots. Measure the detector again."
            )
        return made


def fit(
    score_NK: NDArray[np.floating],
    error_px_NK: NDArray[np.floating],
    visible_NK: NDArray[np.bool_],
    no_evidence_px: float | None = None,
) -> Calibration:
    """A calibration from points whose errors are known. See `fit_tally`."""
    tally = Tally(score_NK.shape[-1])
    tally.add(score_NK, error_px_NK, visible_NK)
    return fit_tally(tally, no_evidence_px)


def fit_tally(tally: Tally, no_evidence_px: float | None = None) -> Calibration:
    """A calibration from counts.

    Scores lower than any that was counted lie on a straight line to a score of 0, where the error is
    `no_evidence_px` (the largest that was counted, if it is not given).
    """
    starts_g = _joined(tally.count_KB.sum(0))
    if not starts_g.size:
        raise DataError(
            "A calibration needs at least one labelled point. Measure on shards whose frames carry visible landmarks."
        )
    number_Kg, error_Kg = _add_up(tally.count_KB, starts_g), _add_up(tally.error_sum_KB, starts_g)
    score_g = _add_up(tally.score_sum_B[None], starts_g)[0] / number_Kg.sum(0)

    pooled_g = -rising(-error_Kg.sum(0)[:, None] / number_Kg.sum(0)[:, None], number_Kg.sum(0))[:, 0]
    harder_K = _harder(error_Kg, number_Kg, pooled_g)
    expected_Kg = _falling(error_Kg, number_Kg, harder_K[:, None] * pooled_g)
    at_zero_px = max(
        no_evidence_px if no_evidence_px is not None else tally.worst_px, float(expected_Kg.max())
    )

    # The first bin's curve is level down to the lowest score that it holds; what lies below was never seen.
    first = max(float(np.flatnonzero(tally.count_KB.sum(0))[0]) / SCORE_BINS, 1e-6)
    knot_G = np.concatenate([[0.0, min(first, score_g[0])], score_g])
    expected_KG = np.concatenate(
        [np.full_like(expected_Kg[:, :1], at_zero_px), expected_Kg[:, :1], expected_Kg], 1
    )
    tables = (knot_G, expected_KG, number_Kg.sum(1))
    return Calibration(*(torch.from_numpy(np.array(each, np.float64)) for each in tables))


def _joined(points_B: Floats) -> NDArray[np.int64]:
    """Where groups of neighbouring bins start, each of enough points, or all there are."""
    if not points_B.sum():
        return np.zeros(0, np.int64)
    enough = max(FEWEST, points_B.sum() / MOST_KNOTS)
    starts, held, left = [0], 0.0, points_B.sum()
    for place, points in enumerate(points_B):
        if held >= enough and left >= enough:
            starts.append(place)
            held = 0.0
        held += points
        left -= points
    return np.array(starts, np.int64)


def _add_up(table_KBx: Floats, starts_g: NDArray[np.int64]) -> Floats:
    summed: Floats = np.add.reduceat(table_KBx, starts_g, axis=1)
    return summed


def _harder(error_Kg: Floats, number_Kg: Floats, pooled_g: Floats) -> Floats:
    """How many times as far off a landmark is as all are at the same scores; 1 where nothing is known of it."""
    usual = max(float((pooled_g * number_Kg.sum(0)).sum() / number_Kg.sum()), 1e-9)
    ratio: Floats = (error_Kg.sum(1) + PRIOR * usual) / (number_Kg @ pooled_g + PRIOR * usual)
    return ratio


def _falling(error_Kg: Floats, number_Kg: Floats, prior_Kg: Floats) -> Floats:
    """Mean errors of each group, one falling curve per landmark, with PRIOR points of `prior_Kg` beside its own."""
    weight_Kg = number_Kg + PRIOR
    mean_Kg = (error_Kg + PRIOR * prior_Kg) / weight_Kg
    return np.stack(
        [
            -rising(-mean_g[:, None], weight_g)[:, 0]
            for mean_g, weight_g in zip(mean_Kg, weight_Kg, strict=True)
        ]
    )


def _between(knots_G: Tensor, value_NK: Tensor) -> tuple[Tensor, Tensor]:
    """The knot to the left of each value and the share of the way to the next one."""
    right_NK = torch.searchsorted(knots_G, value_NK.to(knots_G.dtype)).clamp(1, len(knots_G) - 1)
    low_NK, high_NK = knots_G[right_NK - 1], knots_G[right_NK]
    share_NK = (value_NK - low_NK) / (high_NK - low_NK).clamp_min(torch.finfo(knots_G.dtype).tiny)
    return right_NK - 1, share_NK.clamp(0.0, 1.0)
