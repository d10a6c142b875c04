"""Methods. A method is one file over the few seams of `api`: who publishes which weights, what a teacher does
with them, which sources it computes, and how the student turns those into a target with weights.

The table is a plain dict: a new method is a file and a line here.
"""

from collections.abc import Callable

from tsal_dist.config.model import ModelConfig
from tsal_dist.config.train import TrainConfig
from tsal_dist.recipes import mean_teacher, supervised, tsal
from tsal_dist.recipes.api import Recipe

RECIPES: dict[str, Callable[[TrainConfig, ModelConfig], Recipe]] = {
    "supervised": supervised.build_recipe,
    "mean_teacher": mean_teacher.build_recipe,
    "tsal": tsal.build_recipe,
}

__all__ = ["RECIPES", "Recipe"]
