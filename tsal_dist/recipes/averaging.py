"""How weights flow from student to teacher.

RecursiveAverage   the paper's: theta_T <- keep * theta_T + (1 - keep) * mean of the last Q student snapshots.
                   One-directional: the gap between the two shrinks by `keep`, never by its square.
StepAverage        the mean teacher's: a copy kept beside the student, moved a little at every step and
                   published instead of the student itself.

Both average norm statistics together with the weights they belong to: fresh statistics under old weights, or
the reverse, is what made a naive mean teacher worse than none.
"""

from collections import deque
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Tensors = Mapping[str, Tensor]
Buffers = Literal["average", "copy", "keep"]
NOTHING: Tensors = {}
STEPS = "average.steps"
"""Beside the averaged tensors: over how many steps."""


class RecursiveAverage:
    """What a teacher does with each student snapshot, once and in order."""

    every_version = True

    def __init__(self, keep: float, queue: int, buffers: Buffers = "average") -> None:
        self._keep = keep
        self._buffers: Buffers = buffers
        self._recent: deque[dict[str, Tensor]] = deque(maxlen=queue)

    @torch.no_grad()
    def absorb(self, model: nn.Module, snapshot: Tensors, extra: Tensors = NOTHING) -> None:
        """Pull `model` towards the mean of the last snapshots, this one included."""
        self._recent.append({name: value.detach().clone() for name, value in snapshot.items()})
        pull(model, self._mean(), 1 - self._keep, self._buffers)

    @torch.no_grad()
    def follow(self, model: nn.Module, snapshot: Tensors, extra: Tensors = NOTHING) -> None:
        """Become the snapshot: what a teacher does while the student only learns from labels."""
        self._recent.clear()
        self._recent.append({name: value.detach().clone() for name, value in snapshot.items()})
        pull(model, snapshot, 1.0, "copy")

    def _mean(self) -> dict[str, Tensor]:
        newest = self._recent[-1]
        return {
            name: torch.stack([old[name] for old in self._recent]).mean(0)
            if value.is_floating_point()
            else value
            for name, value in newest.items()
        }

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The snapshots still in the average, oldest first."""
        return {str(place): dict(snapshot) for place, snapshot in enumerate(self._recent)}

    def load_state_dict(self, state: Mapping[str, Tensors]) -> None:
        """The inverse of `state_dict`."""
        self._recent.clear()
        for place in range(len(state)):
            self._recent.append(dict(state[str(place)]))


class StepAverage:
    """An exponential average of the student, exact at every step.

    The decay is shortened while the student is young, min(decay, 1 - 1 / (t + 1)): an average over more steps
    than there were would remember the random start.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._places: list[tuple[nn.Module, str]] = []
        self._found_in: nn.Module | None = None
        self.tensors: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in student.state_dict().items()
        }

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student, once after each optimiser step."""
        self._steps += 1
        self._move(student, 1 - min(self._decay, 1 - 1 / (self._steps + 1)))

    @torch.no_grad()
    def restart(self, student: nn.Module) -> None:
        """Begin again from the student as it is: at the end of burn-in its past is not worth averaging."""
        self._move(student, 1.0)

    def _move(self, student: nn.Module, share: float) -> None:
        pairs = list(zip(self.tensors.values(), self._theirs(student), strict=True))
        moved = [pair for pair in pairs if share != 1.0 and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if share == 1.0 or not pair[0].is_floating_point()]
        if copied:
            torch._foreach_copy_([mine for mine, _ in copied], [theirs for _, theirs in copied])
        if moved:
            torch._foreach_lerp_([mine for mine, _ in moved], [theirs for _, theirs in moved], share)

    def _theirs(self, student: nn.Module) -> list[Tensor]:
        """The student's tensors in the order of the average's.

        Where they are is found once: walking through a large net at every step costs the host milliseconds. What is there
        is looked at each time, because a net may put another tensor in a buffer's place.
        """
        if self._found_in is not student:
            parts = [name.rpartition(".") for name in self.tensors]
            self._places = [(student.get_submodule(owner), name) for owner, _, name in parts]
            self._found_in = student
        return [getattr(owner, name).detach() for owner, name in self._places]

    def state_dict(self) -> dict[str, Tensor]:
        return {**self.tensors, STEPS: torch.tensor(self._steps)}

    def load_state_dict(self, state: Tensors) -> None:
        """The inverse of `state_dict`."""
        self._steps = int(state[STEPS])
        for name, value in self.tensors.items():
            value.copy_(state[name])


@torch.no_grad()
def pull(model: nn.Module, towards: Tensors, share: float, buffers: Buffers) -> None:
    """theta <- (1 - share) theta + share * towards, in place; whole numbers are copied."""
    parameters = {name for name, _ in model.named_parameters()}
    for name, value in model.state_dict().items():
        how = "average" if name in parameters else buffers
        if how == "keep":
            continue
        goal = towards[name].to(value.device)
        if how == "copy" or not value.is_floating_point():
            value.copy_(goal)
        else:
            value.lerp_(goal.to(value.dtype), share)
