"""The nets of both roles, with the same first weights in every process of a run."""

from itertools import count

import torch
from torch import nn

from tsal_dist.config import RunConfig
from tsal_dist.models.detectors import build_detector
from tsal_dist.recipes.api import Member, Recipe


def build_model(config: RunConfig, number: int = 0, weights: str = "") -> nn.Module:
    """The detector, with the same first weights in every process of a run: random ones, each `number` has its own, and
    under them those of the file `weights`."""
    torch.manual_seed(config.train.seed + number)
    return build_detector(config.model.detector, config.model.num_points, weights)


def build_member(config: RunConfig, member: Member, weights: str = "") -> nn.Module:
    """A net of the teacher's panel: the method's own, or a detector as the student's."""
    return member.build() if member.build else build_model(config, weights=weights)


def build_student_net(config: RunConfig, recipe: Recipe, weights: str = "") -> nn.Module:
    """What the student trains: the detector, or what the method makes of detectors."""
    numbers = count()
    return recipe.student.build(lambda: build_model(config, next(numbers), weights))
