"""How much a pseudo-labelled point counts: factors in [0, 1] that are multiplied.

agreement   e^(-d^2 / 4 sigma^2), the overlap of two gaussians at distance d; 0 beyond `cutoff` sigmas. Past
            2 sqrt(ln 2) = 1.67 sigmas a confident right answer loses more against the wrong target than an
            empty map does, so such a label teaches the net to see nothing.
SoftScore   1 at or above a landmark's mean score, a gaussian's flank below it. Jaw points peak lower than eye
            corners: a common threshold would train on the easy points only.
fb_error    e^(-(e / limit)^2 / 2): trust in a track falls as its two flows fail to undo each other.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tsal_dist.recipes.beside import beside

KEPT = 0.99
"""Of what was usual before, with each batch."""


def agreement(distance_NK: Tensor, sigma_px: float, cutoff: float) -> Tensor:
    """e^(-d^2 / 4 sigma^2), and 0 where d > cutoff * sigma."""
    close_NK = distance_NK <= cutoff * sigma_px
    return torch.where(close_NK, torch.exp(-distance_NK.square() / (4 * sigma_px**2)), 0.0)


def fb_error(error_NK: Tensor, limit_px: float) -> Tensor:
    """e^(-(e / limit)^2 / 2)."""
    return torch.exp(-(error_NK / limit_px).square() / 2)


class SoftScore:
    """Per-landmark weight of a score, by the running mean and deviation of what the teacher sends.

    The moments come from all ranks (the caller sums `moments` over them), so every rank weighs alike.
    """

    def __init__(self, num_points: int, warmup: int = 50) -> None:
        self._warmup = warmup
        self._batches = 0
        self._mean_K = torch.zeros(num_points, dtype=torch.float64)
        self._square_K = torch.zeros(num_points, dtype=torch.float64)

    @staticmethod
    def moments(score_NK: Tensor, told_NK: Tensor) -> Tensor:
        """Count, sum and sum of squares per landmark (3 x K), which ranks add up; of the scores that were told: a lost
        row's are zeros, and would make the worst points usual."""
        told = told_NK.expand_as(score_NK).double()
        score = score_NK.detach().double().where(told > 0, 0.0)
        return torch.stack([told.sum(0), score.sum(0), score.square().sum(0)])

    def observe(self, moments_3K: Tensor) -> None:
        """Fold one batch of all ranks into the running moments; a landmark of which it tells nothing stays as it is."""
        count_K, sum_K, square_K = moments_3K.double().cpu()
        if not count_K.any():
            return
        # The first batches are averaged evenly: a zero start would drag the mean for a hundred batches.
        keep = min(KEPT, self._batches / (self._batches + 1))
        mean_K = torch.where(count_K > 0, sum_K / count_K, self._mean_K)
        square_K = torch.where(count_K > 0, square_K / count_K, self._square_K)
        self._mean_K = keep * self._mean_K + (1 - keep) * mean_K
        self._square_K = keep * self._square_K + (1 - keep) * square_K
        self._batches += 1

    @property
    def mean_K(self) -> Tensor:
        """What is usual, and 0 until enough batches were seen to know it."""
        return self._mean_K if self._batches >= self._warmup else torch.zeros_like(self._mean_K)

    def __call__(self, score_NK: Tensor) -> Tensor:
        """Weights in (0, 1]; all ones until enough batches were seen to know what is usual."""
        if self._batches < self._warmup:
            return torch.ones_like(score_NK)
        variance_K = (self._square_K - self._mean_K.square()).clamp_min(1e-8)
        # What is usual is learnt on the host and another one at every step: one copy brings both.
        mean_K, variance_K = beside(torch.stack([self._mean_K, variance_K]), score_NK)
        short_NK = (mean_K - score_NK).clamp_min(0)
        return torch.exp(-short_NK.square() / (2 * variance_K))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs to weigh alike."""
        return {"mean": self._mean_K, "square": self._square_K, "batches": torch.tensor(self._batches)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self._mean_K, self._square_K = state["mean"].clone(), state["square"].clone()
        self._batches = int(state["batches"])
