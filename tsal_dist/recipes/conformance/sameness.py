"""Equality to the bit: of nested states, and of two runs that must have done the same."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run_dir import RunDir

LEARNT = ("loss/", "train/", "unlabelled/", "weight/", "staleness/", "validation/")
OWN_QUEUE = ("planner", "reader")
"""Parts of a state that name files of the run's own queue."""


def equal(first: object, second: object) -> bool:
    """Whether two nested states agree in types, dtypes, shapes, order, NaN and the sign of zero."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same_form = first.dtype == second.dtype and first.shape == second.shape
        return same_form and torch.equal(first, second)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, float) and isinstance(second, float):
        both_nan = math.isnan(first) and math.isnan(second)
        return both_nan or (first == second and math.copysign(1, first) == math.copysign(1, second))
    return first == second


def saved(folder: Path, role: str, step: int | None = None) -> dict[str, Any]:
    """The role's part of a checkpoint of this run, the last one unless told."""
    checkpoints = Checkpoints.to_read(RunDir(folder).checkpoints(role))
    step = checkpoints.latest_committed() if step is None else step
    assert step is not None, f"{folder} has no checkpoint of the {role}"
    return dict(checkpoints.load(step).state)


def metrics(folder: Path, role: str = "student") -> list[dict[str, Any]]:
    """What was written down of learning: not times, nor what an attempt counts for itself."""
    return [
        {name: value for name, value in line.items() if name == "step" or name.startswith(LEARNT)}
        for line in read_metrics(RunDir(folder).metrics(role))
    ]


def assert_same_end(first: Path, second: Path, roles: tuple[str, ...] = ("student", "teacher")) -> None:
    """Weights, optimisers, averages, memories, gates, stream positions of the roles, and what was written down."""
    for role in roles:
        one, other = _in_order(saved(first, role)), _in_order(saved(second, role))
        assert one.keys() == other.keys()
        for part in one:
            assert equal(one[part], other[part]), f"{role}: {part}"
        for mine, theirs in zip(metrics(first, role), metrics(second, role), strict=True):
            differing = {name: (mine.get(name), theirs.get(name)) for name in {*mine, *theirs}}
            differing = {name: pair for name, pair in differing.items() if pair[0] != pair[1]}
            assert not differing, f"{role}, step {mine['step']}: {differing}"


def _in_order(state: Any) -> Any:
    """Snapshots come from files whose tensors have no order."""
    if not isinstance(state, dict):
        return state
    return {name: _in_order(state[name]) for name in sorted(state) if name not in OWN_QUEUE}
