"""The optimiser: which parameter decays, how the rate runs, and its state by parameter name."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tsal_dist.config.train import OptimConfig
from tsal_dist.errors import CheckpointError

State = dict[str, dict[str, Tensor]]
"""Optimiser state: parameter name, then the optimiser's own key, then the tensor."""


FUSED_ON = ("cpu", "cuda")
"""Devices for which torch has fused optimisers."""


def build_param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Every parameter that learns, in exactly one of two groups: matrices and filters decay, vectors do not.

    Biases and the scales of norms are the vectors; decaying them only fights the data.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    """AdamW or Nesterov SGD over `model`'s parameters, each as one kernel for all of them where torch has it."""
    groups = build_param_groups(model, optim.weight_decay)
    fused = has_fused_optimizer(model)
    if optim.name == "sgd":
        nesterov = optim.momentum > 0
        return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, nesterov=nesterov, fused=fused)
    return torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=fused)


def has_fused_optimizer(model: nn.Module) -> bool:
    """Whether every parameter that learns is where torch steps all of them at once."""
    return all(p.device.type in FUSED_ON for p in model.parameters() if p.requires_grad)


def learning_rate(step: int, total_steps: int, optim: OptimConfig) -> float:
    """The rate of optimiser step `step` (from 0) of `total_steps`: a pure function, so resuming needs no state.

    The warm-up's first step has the rate of one step, not zero, or it would be wasted.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    share = min(1.0, step / max(1, total_steps))
    if optim.schedule == "step":
        passed = sum(share >= milestone for milestone in optim.milestones)
        return optim.lr * float(optim.gamma**passed)
    if optim.schedule == "cosine":
        begin = min(1.0, optim.warmup_steps / max(1, total_steps))
        along = (share - begin) / (1 - begin) if begin < 1 else 1.0
        final = optim.final_share
        return optim.lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * along)))
    return optim.lr


def read_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> State:
    """The optimiser's tensors by parameter name; the tensors are the live ones."""
    return {
        name: {key: value for key, value in optimizer.state[parameter].items() if value is not None}
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }


def write_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Any]) -> None:
    """Put what `read_optimizer` gave in place of the optimiser's tensors."""
    parameters = dict(model.named_parameters())
    check_names({name: p for name, p in parameters.items() if name in state}, state, "optimiser's state")
    optimizer.state.clear()
    for name, entries in state.items():
        like = parameters[name]
        # AdamW's count of steps is a scalar; fused, it must be where the parameter is.
        optimizer.state[like] = {
            key: torch.empty_like(like).copy_(value)
            if value.shape == like.shape
            else value.detach().clone().to(like.device)
            for key, value in entries.items()
        }


def check_optimizer(state: Mapping[str, Any], optim: OptimConfig) -> None:
    """Raise CheckpointError if another kind of optimiser wrote `state`: its moments mean something else."""
    if state["optimizer_name"] != optim.name:
        raise CheckpointError(
            f"The checkpoint was written by {state['optimizer_name']!r} and train.optim.name is {optim.name!r}. "
            f"Set it back, or start a new run."
        )


def check_names(expected: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Raise CheckpointError unless both name the same tensors in the same shapes."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown here" for name in found if name not in expected]
    for name, value in expected.items():
        there = found.get(name)
        if isinstance(value, Tensor) and isinstance(there, Tensor) and value.shape != there.shape:
            problems.append(f"{name} is {tuple(there.shape)} and should be {tuple(value.shape)}")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CheckpointError(
            f"The {what} does not fit this model: {'; '.join(problems[:3])}{more}. Resume with the model "
            f"settings that the run began with, or start a new run."
        )
