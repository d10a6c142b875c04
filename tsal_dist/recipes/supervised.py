"""Labels alone: the baseline that every other method has to beat at equal steps."""

import torch

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.target import Evidence, Target


class Settings(Section):
    """It has none."""


def no_labels(evidence: Evidence) -> Target:
    """Every point with weight zero."""
    points_NK2 = evidence.points_NSK2[:, 0]
    return Target(points_NK2, torch.zeros_like(points_NK2[..., 0]))


def recipe(settings: Settings, task: Task) -> Recipe:
    """No pseudo-labels: no teacher is ever started for it."""
    return Recipe(
        label=Plain(no_labels), sources=(Source("heatmap"),), terms=(), panel={"teacher": Member(Newest())}
    )
