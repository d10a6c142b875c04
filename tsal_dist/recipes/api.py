"""The seams a method may fill: everything else of a run is the same for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from tsal_dist.recipes.target import Evidence, Target


class TeacherUpdate(Protocol):
    """What a teacher does with the weights a student publishes."""

    every_version: bool
    """True: each published version once, in order. False: the newest is enough."""

    def follow(self, model: nn.Module, snapshot: Mapping[str, Tensor]) -> None:
        """Take a version from before the end of burn-in."""

    def absorb(self, model: nn.Module, snapshot: Mapping[str, Tensor]) -> None:
        """Take a later version."""

    def state_dict(self) -> Mapping[str, Mapping[str, Tensor]]: ...

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None: ...


class Labeller(Protocol):
    """What a student makes of the sources it was sent."""

    def moments(self, evidence: Evidence) -> Tensor:
        """Sums of this rank's evidence that `observe` needs of all ranks; any shape that can be added."""

    def observe(self, moments: Tensor) -> None:
        """Learn what is usual, from the sums over all ranks."""

    def __call__(self, evidence: Evidence) -> Target: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Recipe:
    """One method, as the loops see it."""

    name: str
    has_teacher: bool
    publishes: Literal["student", "average"]
    """Which weights go to the teacher: the student's own, or the average kept beside it at every step."""
    teacher_learns: bool
    """Whether the teacher takes gradient steps of its own."""
    sources: tuple[str, ...]
    """What the teacher computes for each point."""
    rho_per_step: float
    """Share of an averaging teacher that changes per student step: rho of a lag s is 1 - (1 - this)^s."""
    build_update: Callable[[], TeacherUpdate]
    build_labeller: Callable[[], Labeller]


class Newest:
    """A teacher that is whatever was published last: the averaging happened at the student."""

    every_version = False

    @torch.no_grad()
    def follow(self, model: nn.Module, snapshot: Mapping[str, Tensor]) -> None:
        model.load_state_dict(snapshot)

    absorb = follow

    def state_dict(self) -> Mapping[str, Mapping[str, Tensor]]:
        return {}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Nothing is remembered."""
