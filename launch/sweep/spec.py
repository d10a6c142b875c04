"""A sweep, written down: the sections of its TOML file. The space itself is read by `space`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tsal_dist.config.load import explain, read_toml
from tsal_dist.config.section import Section
from tsal_dist.errors import ConfigError


class SweepSection(Section):
    """What is looked for, and how long."""

    name: str = Field("", pattern=r"^[\w.-]*$")
    """The sweep's name; "" takes that of its file."""

    dir: str = ""
    """The sweep's folder; "" means runs/sweeps/<name>. Every machine must see it."""

    metric: str = "validation/nme"
    """A number of the student's metrics."""

    mode: Literal["min", "max"] = "min"
    """Whether a small or a large metric is good."""

    trials: int = Field(0, ge=0)
    """How many trials; 0 means 16, or the whole grid."""

    concurrent: int = Field(0, ge=0)
    """How many at a time; 0 means as many as there is room for."""

    time_s: float = Field(0.0, ge=0)
    """Seconds after which everything is saved and left, as after Ctrl-C; 0 sets no limit. Counted from each start."""

    retries: int = Field(2, ge=0)
    """How often a trial that failed is taken up again from its last checkpoint."""

    seed: int = Field(0, ge=0)
    """Seeds the choice of values, not the training."""

    shared_labels: str = ""
    """A run whose label log teaches the students of all trials, so that no trial needs a teacher."""


class SearchSection(Section):
    """How values are chosen."""

    method: Literal["random", "grid", "optuna"] = "random"
    """`grid` tries every combination; `optuna` learns from the trials before (TPE)."""

    startup_trials: int = Field(8, ge=1)
    """optuna: trials that are drawn at random before it trusts what it has seen."""


class ScheduleSection(Section):
    """Which trials go on."""

    kind: Literal["none", "asha", "pbt"] = "none"
    """`asha` stops trials that are behind others at the same step; `pbt` lets them go on from a better one's
    checkpoint with changed values."""

    grace_steps: int = Field(0, ge=0)
    """asha: no trial is stopped before; 0 means the first evaluation."""

    reduction: float = Field(3.0, gt=1)
    """asha: of so many trials at a rung one goes on; the rungs' distance grows by the same factor."""

    every_steps: int = Field(0, ge=0)
    """pbt: student steps between two changes; 0 means at every evaluation."""

    quantile: float = Field(0.25, gt=0, le=0.5)
    """pbt: the worst share goes on from the best share."""

    resample: float = Field(0.25, ge=0, le=1)
    """pbt: chance that a value is drawn anew and not changed by a fifth."""


class StopSection(Section):
    """What ends a trial, or everything, beside the schedule."""

    steps: int = Field(0, ge=0)
    """A trial ends at this student step; 0 leaves it to train.steps. Schedules of the learning rate still end at
    train.steps."""

    patience: int = Field(0, ge=0)
    """A trial ends when so many evaluations in a row brought nothing better; 0 never."""

    target: float | None = None
    """The sweep ends with the first trial whose metric is as good as this."""


class PlaceSection(Section):
    """What one trial is given. Every bundle of the placement group is a machine, as far as the trial can tell."""

    nodes: int = Field(1, ge=1)
    """Bundles of a trial: each gets a torchrun, and lies on one node of the cluster."""

    procs_per_node: int = Field(0, ge=0)
    """Processes in each; 0 means what fills every role in one."""

    cpus_per_proc: float = Field(0.0, ge=0)
    """CPUs of each process; 0 means what runs, or the node's share of cores where that is less."""

    gpus_per_proc: float | None = Field(None, ge=0)
    """GPUs of each process; a fraction lets several processes share one. None means one where the cluster has GPUs."""

    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    """Bundles close together or apart; the strict ones wait rather than give in."""

    interface: str = ""
    """Network interface that gloo and NCCL use; "" leaves it to them."""


class SweepFile(Section):
    """The whole file."""

    sweep: SweepSection = SweepSection()
    search: SearchSection = SearchSection()
    schedule: ScheduleSection = ScheduleSection()
    stop: StopSection = StopSection()
    place: PlaceSection = PlaceSection()
    settings: dict[str, Any] = {}
    """Settings of every trial, over those of the config files."""
    space: dict[str, Any] = {}
    """What is searched."""


def read_sweep(path: Path) -> SweepFile:
    """The file, with one clear error for what is wrong in it."""
    tree = read_toml(path, "sweep file")
    try:
        found = SweepFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, SweepFile, 'docs/sweeps.md')}") from None
    name = found.sweep.name or path.stem
    return found.model_copy(update={"sweep": found.sweep.model_copy(update={"name": name})})
