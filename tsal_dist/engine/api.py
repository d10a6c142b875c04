"""What a loop may ask of an engine, and nothing more."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from tsal_dist.engine.inference import Inference


def nothing() -> None:
    """What most steps have to do before their update."""


class Engine(Protocol):
    """A model with its optimiser, spread over the ranks of one role.

    The methods marked as collective are called by all ranks of the role, or by none.
    """

    @property
    def model(self) -> nn.Module:
        """The bare model: for its weights. Under ZeRO-3 its tensors are in pieces."""

    @property
    def steps(self) -> int:
        """Optimiser steps taken since the run began, across restarts."""

    @property
    def lr(self) -> float:
        """Learning rate of the next optimiser step."""

    def forward(self, *inputs: Any) -> Any:
        """The model's outputs, under the engine's precision. Collective."""

    @property
    def infer(self) -> Inference:
        """The model for its own use: what `forward` computes, but in evaluation mode and without a graph.

        No collective, except under ZeRO-3: ranks may infer on as much as they like.
        """

    def step(self, loss: Tensor, before_update: Callable[[], None] = nothing) -> Tensor | None:
        """Learn from `loss`; the gradient's global norm before clipping, or None while accumulating.

        `before_update` is called when all gradients of this loss are there and no weight has moved yet.

        Gradients are averaged over ranks and micro-batches: a loss that divides by a global count has to be
        multiplied by the number of ranks. Collective.
        """

    def full_weights(self) -> dict[str, Tensor]:
        """A copy of all parameters and buffers on the CPU, on every rank, by name. Collective.

        Norm statistics, which every rank gathers for itself, are averaged over ranks first, for good.
        """

    def replace_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Train on from `weights`, which names every parameter and buffer. The optimiser stays as it is.

        Every rank passes the same weights. Collective.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that resuming needs: weights, optimiser, step. Complete on every rank. Collective.

        Its tensors may alias the live ones: write them before the next step.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave, of either engine and any number of ranks. Collective."""
