"""Labels alone: the baseline that every other method has to beat at equal steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tsal_dist.config.model import ModelConfig
from tsal_dist.config.train import TrainConfig
from tsal_dist.recipes.api import Newest, Recipe
from tsal_dist.recipes.target import Evidence, Target


class NoLabels:
    """Gives every point of every source weight zero."""

    def moments(self, evidence: Evidence) -> Tensor:
        return torch.zeros(0)

    def observe(self, moments: Tensor) -> None:
        """Nothing is learnt."""

    def __call__(self, evidence: Evidence) -> Target:
        points_NK2 = evidence.points_NSK2[:, 0]
        return Target(points_NK2, torch.zeros_like(points_NK2[..., 0]), {})

    def state_dict(self) -> Mapping[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing is remembered."""


def build_recipe(train: TrainConfig, model: ModelConfig) -> Recipe:
    """No teacher, no pseudo-labels."""
    return Recipe(
        name="supervised",
        has_teacher=False,
        publishes="student",
        teacher_learns=False,
        sources=(),
        rho_per_step=0.0,
        build_update=Newest,
        build_labeller=NoLabels,
    )
