"""Mean teacher whose labels state their error: a point counts by how likely it is near enough to be right.

The teacher measures on labelled frames what a peak's height means in pixels, for each landmark. Past 1.67 sigmas a label
harms (`weighers`), so what counts is the probability of being nearer: 1 - e^(-pi t^2 / 4 e^2) for an error that is e on
average and normal in both directions. That probability itself, or as two published methods weigh a confidence:

softmatch   1 at or above what is usual for the landmark, below it a gaussian's flank as wide as scores differ (half as
            wide in the publication)
freematch   all or nothing, from a threshold on that rises with what is usual, and is lower for a landmark that lags behind
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.beside import beside
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import ByUsual
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps
from tsal_dist.recipes.weighers import SoftScore


class Settings(Section):
    """The average is `train.average`."""

    weigh: Literal["probability", "softmatch", "freematch"] = "probability"
    within: float = Field(1.67, gt=0)
    """Sigmas within which a label is near enough."""
    warmup: int = Field(50, ge=0)
    """Batches to see before `softmatch` and `freematch` say what is usual; until then every point counts."""


def likely_within(error_NK: Tensor, limit_px: float) -> Tensor:
    """How likely points are nearer than the limit, by their expected error; 0 where that is not known."""
    return (-torch.expm1(-math.pi / 4 * (limit_px / error_NK).square())).nan_to_num(0.0)


class ErrorLabeller(ByUsual):
    """The heatmap's peak, weighed by the error that it states."""

    def __init__(self, settings: Settings, task: Task) -> None:
        super().__init__(task.points, settings.warmup)
        self._how, self._limit_px = settings.weigh, settings.within * task.sigma_px

    def moments(self, evidence: Evidence) -> Tensor:
        known_NK = evidence.told_N1 & evidence.error_NSK[:, 0].isfinite()  # type: ignore[index]
        return SoftScore.moments(self._likely(evidence), known_NK)

    def __call__(self, evidence: Evidence) -> Target:
        likely_NK, fresh_N1 = self._likely(evidence), evidence.fresh_N.unsqueeze(-1)
        weight_NK = self._counts(likely_NK) * fresh_N1 * evidence.valid_NSK[:, 0] * (likely_NK > 0)
        notes = {"likely": likely_NK, "fresh": fresh_N1.expand_as(likely_NK)}
        return Target(evidence.points_NSK2[:, 0], weight_NK, notes)

    def _likely(self, evidence: Evidence) -> Tensor:
        assert evidence.error_NSK is not None, "its source states errors"
        return likely_within(evidence.error_NSK[:, 0], self._limit_px)

    def _counts(self, likely_NK: Tensor) -> Tensor:
        """What each point counts, by what the method was asked for."""
        if self._how == "softmatch":
            return self._usual(likely_NK)
        if self._how == "freematch":
            return (likely_NK >= self._threshold(likely_NK)).to(likely_NK)
        return likely_NK

    def _threshold(self, likely_NK: Tensor) -> Tensor:
        """Of each landmark: what is usual of all, as far as this one has come of the one that is best."""
        mean_K = beside(self._usual.mean_K, likely_NK)
        return mean_K.mean() * mean_K / mean_K.max().clamp_min(torch.finfo(mean_K.dtype).tiny)


def recipe(settings: Settings, task: Task) -> Recipe:
    """The student's average labels, and says how far off it is."""
    return Recipe(
        label=ErrorLabeller(settings, task),
        sources=(Source("heatmap", states_error=True),),
        terms=(TargetHeatmaps(),),
        panel={"teacher": Member(Newest())},
    )
