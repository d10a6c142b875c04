"""A teacher and a slow reviewer: the reviewer is a snapshot of what the others have moved away from since.

The student learns both targets at all stages of its net, late ones more than early ones, from pictures in which points are
blended with other points. Rates and weights are not published; those here are this project's.
"""

from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest, Snapshot
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.mixing import BlendedPoints
from tsal_dist.recipes.target import Evidence, Target, Targets
from tsal_dist.recipes.terms import StageHeatmaps


class Settings(Section):
    """The teacher is the average of `train.average`."""

    reviewer: float = Field(0.5, ge=0)
    """Share of the reviewer's target; 0 is without a reviewer."""

    every: int = Field(10, ge=1)
    """Versions from one snapshot to the next."""

    present: float = Field(0.2, ge=0, le=1)
    """Height of a peak from which on a point teaches."""

    blended: int = Field(2, ge=0)
    """Points of each frame that are blended with points of others."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """Two targets, one student."""
    names = ("teacher", "reviewer") if settings.reviewer else ("teacher",)

    def label(evidence: Evidence) -> Targets:
        fresh_N1 = evidence.fresh_N.unsqueeze(-1)
        targets = {}
        for place, name in enumerate(names):
            high_NK = evidence.valid_NSK[:, place] & (evidence.score_NSK[:, place] >= settings.present)
            targets[name] = Target(evidence.points_NSK2[:, place], high_NK * fresh_N1)
        return targets

    follows = {"teacher": Newest(), "reviewer": Snapshot(settings.every)}
    shares = {"teacher": ("label_heat", 1.0), "reviewer": ("reviewer_heat", settings.reviewer)}
    return Recipe(
        label=Plain(label),
        sources=tuple(Source(name, member=name) for name in names),
        terms=tuple(StageHeatmaps(shares[name][1], name, shares[name][0]) for name in names),
        panel={name: Member(follows[name]) for name in names},
        mix=BlendedPoints(settings.blended),
    )
