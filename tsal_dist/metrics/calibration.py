"""What a score means in pixels: the error a landmark is expected to have, learnt from frames whose truth is known.

A `Tally` counts, per landmark, how often a point of some score was off by how much; tallies of ranks or sets add up.
`fit_tally` turns it into a `Calibration`: one curve per landmark, falling with the score. Where a landmark was seen
seldom, its curve is that of all landmarks, stretched by how much harder it is on the whole. A score of 0 means no evidence; from 1 on it is as good as it gets.

Axes: N frames, K points, B bins of score, E bins of error, G knots of a curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.metrics.isotonic import rising

Floats = NDArray[np.float64]

SCORE_BINS = 100
ERROR_EDGES_PX = np.concatenate([[0.0], np.geomspace(0.1, 1000.0, 49)])
"""Errors beyond the last edge, and predictions that are no number, count as it."""
FEWEST, MOST_KNOTS = 30, 24
"""Neighbouring bins of score are joined until each holds so many points, and until so few knots are left."""
PRIOR = 20.0
"""How many points a landmark must have, in all and at a knot, to be believed as much as what all of them say."""


@dataclass
class Tally:
    """Counts of points by landmark, score and error. Two tallies of one detector are `a + b`, or the sum of their
    `vector`s."""

    num_points: int
    count_KBE: Floats = field(default_factory=lambda: np.zeros(0))
    error_sum_KB: Floats = field(default_factory=lambda: np.zeros(0))
    score_sum_B: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not self.count_KBE.size:
            self.count_KBE = np.zeros((self.num_points, SCORE_BINS, len(ERROR_EDGES_PX) - 1))
            self.error_sum_KB = np.zeros((self.num_points, SCORE_BINS))
            self.score_sum_B = np.zeros(SCORE_BINS)

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
        far = float(ERROR_EDGES_PX[-1])
        error_M = error_px_NK[visible_NK].astype(np.float64)
        error_M = np.clip(np.nan_to_num(error_M, nan=far, posinf=far), 0.0, far)
        bin_M = np.minimum((score_M * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        last = len(ERROR_EDGES_PX) - 2
        error_bin_M = np.clip(np.searchsorted(ERROR_EDGES_PX, error_M, side="left") - 1, 0, last)
        np.add.at(self.count_KBE, (point_M, bin_M, error_bin_M), 1.0)
        np.add.at(self.error_sum_KB, (point_M, bin_M), error_M)
        np.add.at(self.score_sum_B, bin_M, score_M)

    @property
    def vector(self) -> Floats:
        """All counts in one array, whose element-wise sum over ranks is the whole set's."""
        return np.concatenate([self.count_KBE.ravel(), self.error_sum_KB.ravel(), self.score_sum_B])

    def with_vector(self, vector: Floats) -> "Tally":
        """The same question with these counts: undoes `vector`."""
        ends = np.cumsum([self.count_KBE.size, self.error_sum_KB.size])
        count, error_sum, score_sum = np.split(vector, ends)
        shape = self.count_KBE.shape
        return Tally(self.num_points, count.reshape(shape), error_sum.reshape(shape[:2]), score_sum.copy())

    def __add__(self, other: "Tally") -> "Tally":
        if self.num_points != other.num_points:
            raise DataError(
                f"Tallies of {self.num_points} and of {other.num_points} landmarks cannot be added. "
                f"Calibrate each detector by itself."
            )
        return self.with_vector(self.vector + other.vector)


@dataclass(frozen=True)
class Calibration:
    """Curves over scores, per landmark. Pixels are those in which the errors were counted: the crop's."""

    knot_G: Tensor
    """Scores in rising order, from 0; between two of them a curve is straight, after the last it is level."""
    expected_KG: Tensor
    """Mean error in pixels, falling."""
    within_KGE: Tensor
    """Probability of an error of at most each of `limit_E`; rising in both."""
    limit_E: Tensor
    seen_K: Tensor
    """How many points of each landmark were counted."""

    def expected_px(self, score_NK: Tensor) -> Tensor:
        """The mean error of points with these scores."""
        left_NK, share_NK, point_NK = self._place(score_NK)
        table_KG = self.expected_KG.to(share_NK.device)
        return torch.lerp(table_KG[point_NK, left_NK], table_KG[point_NK, left_NK + 1], share_NK)

    def probability_within(self, score_NK: Tensor, limit_px: float | Tensor) -> Tensor:
        """How likely points with these scores are off by no more than `limit_px`, a number or one per point."""
        left_NK, share_NK, point_NK = self._place(score_NK)
        table_KGE = self.within_KGE.to(share_NK.device)
        limits_E = self.limit_E.to(share_NK.device)
        limit_NK = torch.as_tensor(limit_px, dtype=share_NK.dtype, device=share_NK.device)
        limit_NK = limit_NK.expand(share_NK.shape).clamp(0.0, float(limits_E[-1])).contiguous()
        below_NK, part_NK = _between(limits_E, limit_NK)
        ends = [
            torch.lerp(table_KGE[point_NK, at, below_NK], table_KGE[point_NK, at, below_NK + 1], part_NK)
            for at in (left_NK, left_NK + 1)
        ]
        return torch.lerp(ends[0], ends[1], share_NK)

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
        knots, limits = made.knot_G.numel(), made.limit_E.numel()
        points = made.seen_K.numel()
        if made.expected_KG.shape != (points, knots) or made.within_KGE.shape != (points, knots, limits):
            raise CheckpointError(
                f"The calibration's tables {tuple(made.expected_KG.shape)} and {tuple(made.within_KGE.shape)} do not "
                f"fit its {points} landmarks, {knots} knots and {limits} limits. Measure the detector again."
            )
        return made

    def reliability(
        self,
        score_NK: NDArray[np.floating],
        error_px_NK: NDArray[np.floating],
        visible_NK: NDArray[np.bool_],
        bins: int = 10,
    ) -> "Reliability":
        """What is stated beside what is true, on other frames than those it was learnt from."""
        stated_NK = self.expected_px(torch.from_numpy(np.asarray(score_NK, np.float64))).numpy()
        sound_NK = visible_NK & np.isfinite(error_px_NK)
        stated_M, error_M = stated_NK[sound_NK], error_px_NK[sound_NK].astype(np.float64)
        order_M = np.argsort(stated_M, kind="stable")
        parts = [part for part in np.array_split(order_M, bins) if part.size]
        return Reliability(
            np.array([stated_M[part].mean() for part in parts]),
            np.array([error_M[part].mean() for part in parts]),
            np.array([part.size for part in parts]),
        )


@dataclass(frozen=True)
class Reliability:
    """Points sorted by their stated error and cut into equal parts, Q of them: a curve that should be the diagonal."""

    stated_px_Q: Floats
    observed_px_Q: Floats
    count_Q: NDArray[np.int64]

    @property
    def gap_px(self) -> float:
        """How far the stated error is from the observed one, over all points."""
        if not self.count_Q.size:
            return float("nan")
        return float(np.average(np.abs(self.stated_px_Q - self.observed_px_Q), weights=self.count_Q))


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
    `no_evidence_px` (the largest that was counted, if it is not given) and no limit is believed to hold.
    """
    group_B = _joined(tally.count_KBE.sum((0, 2)))
    if not group_B.size:
        raise DataError(
            "A calibration needs at least one labelled point. Measure on shards whose frames carry visible landmarks."
        )
    count_KgE = _add_up(tally.count_KBE, group_B)
    error_Kg = _add_up(tally.error_sum_KB, group_B)
    number_Kg = count_KgE.sum(-1)
    score_g = _add_up(tally.score_sum_B[None], group_B)[0] / number_Kg.sum(0)

    pooled_g = -rising(-error_Kg.sum(0)[:, None] / number_Kg.sum(0)[:, None], number_Kg.sum(0))[:, 0]
    harder_K = _harder(error_Kg, number_Kg, pooled_g)
    expected_Kg = -_curves(-error_Kg[..., None], number_Kg, -(harder_K[:, None] * pooled_g)[..., None])[
        ..., 0
    ]
    within_KgE = _curves(count_KgE.cumsum(-1), number_Kg, _stretched(count_KgE.sum(0), harder_K))
    worst_px = float(ERROR_EDGES_PX[1:][count_KgE.sum((0, 1)) > 0].max())
    at_zero_px = max(no_evidence_px if no_evidence_px is not None else worst_px, float(expected_Kg.max()))

    # The first bin's curve is level down to the lowest score that it holds; what lies below was never seen.
    first = max(float(np.flatnonzero(tally.count_KBE.sum((0, 2)))[0]) / SCORE_BINS, 1e-6)
    knot_G = np.concatenate([[0.0, min(first, score_g[0])], score_g])
    expected_KG = np.concatenate(
        [np.full_like(expected_Kg[:, :1], at_zero_px), expected_Kg[:, :1], expected_Kg], 1
    )
    none_K1E = np.zeros_like(within_KgE[:, :1])
    within_KGE = np.concatenate([none_K1E, within_KgE[:, :1], within_KgE], 1)
    within_KGE = np.concatenate(
        [np.zeros_like(within_KGE[..., :1]), within_KGE], -1
    )  # nobody is off by nothing
    tables = (knot_G, expected_KG, within_KGE, ERROR_EDGES_PX, number_Kg.sum(1))
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


def _stretched(count_gE: Floats, harder_K: Floats) -> Floats:
    """Shares of all landmarks' points within each limit, for landmarks whose errors are so many times as large."""
    share_gE = np.concatenate([np.zeros((len(count_gE), 1)), count_gE.cumsum(-1)], 1)
    share_gE = rising(share_gE / count_gE.sum(-1, keepdims=True), count_gE.sum(-1))
    limits_KE = ERROR_EDGES_PX[1:] / harder_K[:, None]
    return np.stack(
        [np.stack([np.interp(row_E, ERROR_EDGES_PX, share_E) for share_E in share_gE]) for row_E in limits_KE]
    )


def _curves(sum_Kgx: Floats, number_Kg: Floats, prior_Kgx: Floats) -> Floats:
    """Means over each group, one rising curve per landmark, with PRIOR points that say `prior_Kgx` beside its own."""
    weight_Kg = number_Kg + PRIOR
    drawn_Kgx = (sum_Kgx + PRIOR * prior_Kgx) / weight_Kg[..., None]
    return np.stack(
        [rising(mean_gx, weight_g) for mean_gx, weight_g in zip(drawn_Kgx, weight_Kg, strict=True)]
    )


def _between(knots_G: Tensor, value_NK: Tensor) -> tuple[Tensor, Tensor]:
    """The knot to the left of each value and the share of the way to the next one."""
    right_NK = torch.searchsorted(knots_G, value_NK.to(knots_G.dtype)).clamp(1, len(knots_G) - 1)
    low_NK, high_NK = knots_G[right_NK - 1], knots_G[right_NK]
    share_NK = (value_NK - low_NK) / (high_NK - low_NK).clamp_min(torch.finfo(knots_G.dtype).tiny)
    return right_NK - 1, share_NK.clamp(0.0, 1.0)
