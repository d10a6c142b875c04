"""Labels alone: the baseline that every other method has to beat at equal steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.target import Evidence, Target


class Settings(Section):
    """It has none."""


class NoLabels:
    """Gives every point of every source weight zero."""

    def moments(self, evidence: Evidence) -> Tensor:
        return torch.zeros(0)

    def observe(self, moments: Tensor) -> None:
        """Nothing is learnt."""

    def __call__(self, evidence: Evidence) -> Target:
        points_NK2 = evidence.points_NSK2[:, 0]
        return Target(points_NK2, torch.zeros_like(points_NK2[..., 0]))

    def state_dict(self) -> Mapping[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing is remembered."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """No pseudo-labels: no teacher is ever started for it."""
    return Recipe(
        label=NoLabels(), sources=(Source("heatmap"),), terms=(), panel={"teacher": Member(Newest())}
    )
