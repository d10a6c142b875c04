"""How a net of the panel follows what the student publishes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tsal_dist.errors import ConfigError
from tsal_dist.recipes.api import BuildNet, Task, Weights


class Newest:
    """Whatever was published last: the averaging happened at the student."""

    every_version = False

    @torch.no_grad()
    def follow(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        model.load_state_dict(weights)

    absorb = follow

    def state_dict(self) -> Mapping[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is remembered."""


class Frozen(Newest):
    """What it was built as: versions change nothing."""

    def follow(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        """It is not taught."""

    absorb = follow


def find_teacher(name: str, task: Task) -> BuildNet:
    """What loads the trained detector of a run, or of a file of weights, that a method's setting `teacher` names."""
    load = task.load_net
    if not name or load is None:
        raise ConfigError(
            "method.teacher is empty: name the run, or the file of weights, whose detector is to teach."
        )
    return lambda: load(name)


class Snapshot(Newest):
    """The version of every `every`-th time: a slow reviewer that remembers what the others have moved away from."""

    every_version = True

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    @torch.no_grad()
    def follow(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        self._seen = 0
        model.load_state_dict(weights)

    @torch.no_grad()
    def absorb(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            model.load_state_dict(weights)

    def state_dict(self) -> Mapping[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = int(state["seen"])
