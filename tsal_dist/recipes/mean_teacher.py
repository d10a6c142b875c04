"""Mean teacher for landmarks: an average of the student labels, the student learns from a harder view.

The average is kept beside the student at every step, exactly, and published; the teacher only runs it. One
source, the heatmap's peak; how much a point counts is its score against what is usual for that landmark.
"""

from pydantic import Field
from torch import Tensor

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import ByUsual
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetCoordinates, TargetHeatmaps
from tsal_dist.recipes.weighers import SoftScore


class Settings(Section):
    """The average is `train.average`."""

    views: int = Field(1, ge=1)
    """Views of a frame whose maps the teacher averages: a heavier, better teacher."""

    score_warmup: int = Field(50, ge=0)
    """Batches of score statistics to see before scores weigh anything."""

    heat: float = Field(1.0, ge=0)
    """Share of the heatmaps in what unlabelled frames teach."""

    coordinate: float = Field(0.0, ge=0)
    """Share of the decoded points."""


class PeakLabeller(ByUsual):
    """The heatmap's peak, weighed by its own landmark's usual score."""

    def moments(self, evidence: Evidence) -> Tensor:
        return SoftScore.moments(evidence.score_NSK[:, evidence.source("heatmap")], evidence.told_N1)

    def __call__(self, evidence: Evidence) -> Target:
        peak = evidence.source("heatmap")
        score_NK = self._usual(evidence.score_NSK[:, peak])
        fresh_N1 = evidence.fresh_N.unsqueeze(-1)
        weight_NK = score_NK * fresh_N1 * evidence.valid_NSK[:, peak]
        return Target(
            evidence.points_NSK2[:, peak],
            weight_NK,
            {"score": score_NK, "fresh": fresh_N1.expand_as(score_NK)},
        )


def recipe(settings: Settings, task: Task) -> Recipe:
    """The student's average labels."""
    return Recipe(
        label=PeakLabeller(task.points, settings.score_warmup),
        sources=(Source("heatmap", views=settings.views),),
        terms=(TargetHeatmaps(settings.heat), TargetCoordinates(settings.coordinate)),
        panel={"teacher": Member(Newest())},
    )
