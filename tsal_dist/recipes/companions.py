"""Companions: the average labels what fits together, and says what is not there; the student learns from harder views.

A height of a peak does not tell a right leg from a left one, and neighbour frames share the mistake. What ten labels do say
is which coordinates go together (`models.companions`): of the peaks of each map the teacher takes the one that fits, a point
that fits nowhere teaches nothing, and a point that labels leave out now and then is taught to be absent where its map is low.
"""

import torch
from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.beside import beside
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.mixing import Covered
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    """The average is `train.average`."""

    views: int = Field(1, ge=1)
    """Views of a frame whose maps the teacher averages: a heavier, better teacher."""

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


def recipe(settings: Settings, task: Task) -> Recipe:
    """The student's average labels, with the labels' own companions as judge."""
    left_out_K = torch.tensor(task.absent or (0.0,) * task.points) >= settings.left_out
    floor_K = torch.where(left_out_K, settings.surely_present, settings.present)

    def label(evidence: Evidence) -> Target:
        score_NK, fresh_N1 = evidence.score_NSK[:, 0], evidence.fresh_N.unsqueeze(-1)
        seen_NK = evidence.valid_NSK[:, 0] & (score_NK >= beside(floor_K, score_NK))
        absent_NK = beside(left_out_K, evidence.valid_NSK) & (score_NK < settings.absent)
        fits_NK = (seen_NK | absent_NK).to(score_NK.dtype)
        notes = {
            "fits": fits_NK,
            "absent": absent_NK.to(score_NK.dtype),
            "fresh": fresh_N1.expand_as(score_NK),
        }
        return Target(evidence.points_NSK2[:, 0], fits_NK * fresh_N1, notes, absent_NK=absent_NK)

    return Recipe(
        label=Plain(label),
        sources=(Source("companions", reading="companions", views=settings.views),),
        terms=(TargetHeatmaps(),),
        panel={"teacher": Member(Newest())},
        mix=Covered(settings.covered),
    )
