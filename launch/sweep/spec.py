"""A sweep, written down: the sections of its TOML file. The space itself is read by `space`."""

import difflib
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tsal_dist.config.section import Section
from tsal_dist.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError:
        others = ", ".join(map(str, sorted(path.parent.glob("*.toml"))))
        raise ConfigError(
            f"There is no sweep file {str(path)!r}.{others and f' There are: {others}.'}"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a folder; name the TOML file in it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    try:
        found = SweepFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None
    name = found.sweep.name or path.stem
    return found.model_copy(update={"sweep": found.sweep.model_copy(update={"name": name})})


def sweep_keys() -> list[str]:
    """Every dotted key that a sweep file may set, settings and space aside."""
    sections = {
        name: field.annotation
        for name, field in SweepFile.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields]


def _explain(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, problem["loc"][:2]))
    if problem["type"] != "extra_forbidden":
        return f"{where} = {problem['input']!r} is not valid: {problem['msg']}."
    known = [*sweep_keys(), *SweepFile.model_fields]
    near = difflib.get_close_matches(where, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Sections are {', '.join(SweepFile.model_fields)}."
    return f"There is no setting {where!r}. {hint}"
