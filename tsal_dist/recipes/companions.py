"""Companions: the average labels what fits together, and says what is not there; the student learns from harder views.

A height of a peak does not tell a right leg from a left one, and neighbour frames share the mistake. What ten labels do say
is which coordinates go together (`models.companions`): of the peaks of each map the teacher takes the one that fits, a point
that fits nowhere teaches nothing, and a point that labels leave out now and then is taught to be absent where its map is low.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.mixing import Covered
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    """The average is `train.average`."""

    present: float = Field(0.2, ge=0, le=1)
    """Height of a map from which on a point counts as seen."""

    surely_present: float = Field(0.4, ge=0, le=1)
    """The same for a point that labels leave out now and then."""

    absent: float = Field(0.25, ge=0, le=1)
    """Height below which such a point is taught to be absent."""

    left_out: float = Field(0.2, gt=0, le=1)
    """Share of labelled frames without a point from which on it may be absent at all: one label in ten says nothing."""

    covered: int = Field(2, ge=0)
    """Points that are covered in the student's view of a frame."""


class FittingLabeller:
    """Points that fit, each with weight one or none; and points that are not there."""

    def __init__(self, settings: Settings, task: Task) -> None:
        absent_K = torch.tensor(task.absent or (0.0,) * task.points)
        self._may_be_absent_K = absent_K >= settings.left_out
        self._floor_K = torch.where(self._may_be_absent_K, settings.surely_present, settings.present)
        self._absent = settings.absent

    def moments(self, evidence: Evidence) -> Tensor:
        return torch.zeros(0)

    def observe(self, moments: Tensor) -> None:
        """Nothing is learnt."""

    def __call__(self, evidence: Evidence) -> Target:
        place = evidence.source("companions")
        score_NK, fresh_N1 = evidence.score_NSK[:, place], evidence.fresh_N.unsqueeze(-1)
        seen_NK = evidence.valid_NSK[:, place] & (score_NK >= self._floor_K.to(score_NK))
        absent_NK = self._may_be_absent_K.to(score_NK.device) & (score_NK < self._absent)
        fits_NK = (seen_NK | absent_NK).to(score_NK.dtype)
        return Target(
            evidence.points_NSK2[:, place],
            fits_NK * fresh_N1,
            {"fits": fits_NK, "absent": absent_NK.to(score_NK.dtype), "fresh": fresh_N1.expand_as(score_NK)},
            absent_NK=absent_NK,
        )

    def state_dict(self) -> Mapping[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing is remembered."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """The student's average labels, with the labels' own companions as judge."""
    return Recipe(
        label=FittingLabeller(settings, task),
        sources=(Source("companions", reading="companions"),),
        terms=(TargetHeatmaps(),),
        panel={"teacher": Member(Newest())},
        mix=Covered(settings.covered),
    )
