"""A detector as training left it: from a run's checkpoints, or from a file of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.config.load import build_config
from tsal_dist.dist.environment import read_environment
from tsal_dist.errors import CheckpointError, ConfigError
from tsal_dist.json_object import read_object
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.pretrained import load_pretrained
from tsal_dist.recipes.averaging import STEPS
from tsal_dist.recipes.students import part_of
from tsal_dist.run import load_run

CONFIG_NOTE = "config"
"""Under this name an exported file holds its run's config, as JSON."""

Role = Literal["student", "teacher"]


class OtherNet(ConfigError):
    """A teacher that was brought along: its run, and not this one, knows how to build it."""


class NothingSaved(CheckpointError):
    """No checkpoint of that role is finished."""


@dataclass(frozen=True)
class Trained:
    """A detector ready to be run, with the settings it was trained with."""

    model: nn.Module
    config: RunConfig
    name: str
    """For tables and captions: run, role and step."""
    step: int = -1
    """-1: unknown."""

    @property
    def expand(self) -> float:
        """By how much a box of landmarks grows on each side to be what was trained on."""
        data = self.config.data
        return ((1 + 2 * data.beyond_points) * (1 + 2 * data.box_expand) - 1) / 2


def load_trained(folder: str | Path, role: Role, which: str = "best") -> Trained:
    """The detector of a run. `which` is "best" (by validation, else the last), "last", or a step."""
    run = load_run(folder)
    checkpoints = Checkpoints.to_read(run.dir.checkpoints(role))
    step = choose_step(checkpoints, which, f"{folder}, {role}")
    state = checkpoints.load(step).state
    if state.get("other_net"):
        raise OtherNet(
            f"The {role} of {folder} is another net than the run's own {run.config.model.detector}. Measure it where it was "
            f"trained."
        )
    model = build_detector(run.config.model.detector, run.config.model.num_points)
    model.load_state_dict(detector_weights(state))
    model.eval()
    return Trained(model, run.config, f"{Path(folder).resolve().name} {role} step {step}", step)


def detector_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The detector of a checkpoint: the average over the last steps, where one was kept beside the student."""
    average = {name: value for name, value in state.get("average", {}).items() if name != STEPS}
    weights = average or state["engine"]["weights"]
    return part_of(weights, state.get("detector", ""))


def load_weights(path: str | Path, config: RunConfig | None = None) -> Trained:
    """The detector of a file of weights. A file that was exported says itself which config it belongs to."""
    if not Path(path).is_file():
        raise ConfigError(f"There is no file {path}. Name one of weights, such as `tsal export` writes.")
    config = config or _noted_config(Path(path))
    model = build_detector(config.model.detector, config.model.num_points)
    report = load_pretrained(model, path, trunk=())
    if report.fresh:
        raise ConfigError(
            f"{path} lacks {len(report.fresh)} of the tensors of {config.model.detector} with "
            f"{config.model.num_points} points, or has them in another shape (such as {report.fresh[0]}). Name the "
            f"config that it was trained with."
        )
    model.eval()
    return Trained(model, config, Path(path).name)


def pick_device() -> torch.device:
    """A GPU where there is one: the first, or of several ranks on a machine each its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", read_environment().local_rank % torch.cuda.device_count())


def _noted_config(path: Path) -> RunConfig:
    note: dict[str, str] | None = None
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                note = file.metadata()
        except SafetensorError as error:
            raise ConfigError(f"{path} is no whole safetensors file ({error}). Export it again.") from None
    if not note or CONFIG_NOTE not in note:
        raise ConfigError(
            f"{path} does not say which detector and landmarks it belongs to. Name the config (--config)."
        )
    try:
        return build_config(read_object(note[CONFIG_NOTE]), str(path))
    except ValueError as error:
        raise ConfigError(f"The config in {path} is damaged ({error}). Export it again.") from None


def choose_step(checkpoints: Checkpoints, which: str, where: str) -> int:
    """The step of a checkpoint that is there: the "last", the "best" by validation (else the last), or a number."""
    steps = checkpoints.committed()
    if not steps:
        raise NothingSaved(f"{where} has no finished checkpoint yet. Let the run reach its first one.")
    if which == "last":
        return steps[-1]
    if which == "best":
        best = checkpoints.best()
        return steps[-1] if best is None else best
    if which.isdigit() and int(which) in steps:
        return int(which)
    if not which.isdigit():
        raise ConfigError(f"--step is {which!r}; it must be best, last or a number.")
    raise ConfigError(
        f"{where} has no checkpoint of step {which}. There are: {', '.join(map(str, steps))}. Name one of them."
    )
