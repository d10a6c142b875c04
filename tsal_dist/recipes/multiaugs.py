"""One easy prediction teaches several hard views of the same net: points covered, pasted over, turned and scaled.

Published with one net, which labels for itself (`average = false`), and with an averaging teacher beside it. A point counts
by the height of its peak: all of it above `present`, nothing below. The losses of the views are averaged, where the
publication adds them up: how much they count together is `train.loss.unlabelled`.
"""

from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.mixing import Covered, InTurn, Pasted, Several, Turned
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    """Patches as published: five, around points."""

    average: bool = True
    """Whether the average of the student labels, or the student itself."""

    present: float = Field(0.2, ge=0, le=1)
    """Height of a peak from which on a point teaches."""

    views: int = Field(2, ge=1, le=4)
    """Hard views of each frame."""

    patches: int = Field(5, ge=0)
    size: float = Field(0.12, gt=0, lt=1)
    """Side of a patch, as a share of the crop's."""

    degrees: float = Field(30.0, ge=0)
    scale: float = Field(0.25, ge=0, lt=1)
    """Of the further turn and scale of every view."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """The easy view is the teacher's, the hard ones are the student's."""

    def label(evidence: Evidence) -> Target:
        high_NK = evidence.valid_NSK[:, 0] & (evidence.score_NSK[:, 0] >= settings.present)
        fresh_N1 = evidence.fresh_N.unsqueeze(-1)
        notes = {"score": high_NK.to(fresh_N1.dtype), "fresh": fresh_N1.expand(high_NK.shape)}
        return Target(evidence.points_NSK2[:, 0], high_NK * fresh_N1, notes)

    turned = Turned(settings.degrees, settings.scale)
    ways = (
        InTurn((turned, Covered(settings.patches, settings.size))),
        InTurn((turned, Pasted(settings.patches, settings.size))),
        turned,
        InTurn((turned, Covered(settings.patches, settings.size), Pasted(settings.patches, settings.size))),
    )
    return Recipe(
        label=Plain(label),
        sources=(Source("heatmap"),),
        terms=(TargetHeatmaps(),),
        panel={"teacher": Member(Newest())},
        publishes="average" if settings.average else "student",
        mix=Several(ways[: settings.views]),
    )
