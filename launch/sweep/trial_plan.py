"""A sweep, decided and checked before anything starts: no trial may find out what could have been known here."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launch.process_plan import TRAIN, Crew, default_procs, plan_crews
from launch.sweep.space import Domain, parse_space
from launch.sweep.spec import SweepFile, read_sweep
from tsal_dist.address import is_url
from tsal_dist.config import RunConfig, load_config
from tsal_dist.config.load import all_keys, explain, override, to_override
from tsal_dist.errors import ConfigError
from tsal_dist.json_object import flatten

DEFAULT_TRIALS = 16
SAMPLES = 64
"""So many combinations of values are checked together, beside every end of every range."""

# The sweep's own business: where a trial lives, and which processes it is made of.
NOT_SEARCHED = ("run.", "runtime.role", "runtime.replay", "runtime.offline", "runtime.deadlines.")
# What a run can be told in its middle without its checkpoint losing its meaning.
MAY_MUTATE = (
    "train.optim.",
    "train.loss.",
    "train.gate.slack",
    "method.max_disagreement",
    "method.keep",
    "method.tracking",
    "method.coordinate",
    "method.heat",
    "method.own_lr_share",
    "data.easy.",
    "data.hard.",
)
NEVER_MUTATE = ("train.optim.name",)


@dataclass(frozen=True)
class SweepPlan:
    """Everything a trial and whoever starts it need to know."""

    file: SweepFile
    space: Mapping[str, Domain]
    files: tuple[str, ...]
    """Config files, as launch.crew is told them."""
    overrides: tuple[str, ...]
    """The settings that all trials share, over those of the files."""
    config: RunConfig
    """What files and overrides make, without any searched value."""
    root: Path
    """The repository: where every process runs."""
    folder: Path
    """The sweep's own; absolute."""
    trials: int
    procs: int
    """Processes of a trial in each bundle."""
    module: str = TRAIN
    bundle_cpus: float = 0.0
    """Of each bundle, as `place.fit_plan` decides when it sees the cluster."""
    bundle_gpus: float = 0.0

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What each machine of a trial is made of, in Ray's words."""
        bundle = {"CPU": self.bundle_cpus}
        if self.bundle_gpus:
            bundle["GPU"] = self.bundle_gpus
        return [dict(bundle) for _ in range(self.file.place.nodes)]

    @property
    def total_steps(self) -> int:
        """The last step that any trial takes."""
        return min(self.file.stop.steps or self.config.train.steps, self.config.train.steps)

    def trial_overrides(self, values: Mapping[str, Any], run: Path) -> list[str]:
        """The settings of a trial with these values of the space, in this run directory."""
        chosen = [to_override(key, value) for key, value in values.items()]
        return [*self.overrides, *chosen, to_override("run.dir", str(run))]

    def trial_config(self, values: Mapping[str, Any], run: Path) -> RunConfig:
        return load_config(self.files, self.trial_overrides(values, run))

    def trial_crews(self, config: RunConfig) -> tuple[Crew, ...]:
        return plan_crews(config, self.file.place.nodes, self.procs)

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Values as a random trial would get them."""
        return {key: domain.sample(rng) for key, domain in self.space.items()}


def plan_sweep(
    files: Sequence[str],
    overrides: Sequence[str],
    sweep_file: Path,
    changes: Mapping[str, Any],
    root: Path,
    module: str = TRAIN,
) -> SweepPlan:
    """Read and check everything. `changes` are the command line's words for keys of the sweep file."""
    file = read_sweep(sweep_file)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        before = getattr(file, section)
        try:
            after = type(before).model_validate({**before.model_dump(), name: value})
        except ValidationError as error:
            raise ConfigError(f"{section}: {explain(error, type(before), 'docs/sweeps.md')}") from None
        file = file.model_copy(update={section: after})
    if is_url(file.sweep.dir):
        raise ConfigError(
            f"sweep.dir is {file.sweep.dir!r}, and it must be a path of a filesystem that every node sees. Use a mounted "
            f"folder."
        )
    space = parse_space(file.space)
    if not space:
        raise ConfigError(
            f"{sweep_file} has no [space], so there is nothing to search. Name a key and its values."
        )
    shared = [*starmap(to_override, flatten(file.settings).items()), *overrides]
    if file.sweep.shared_labels:
        shared += [to_override("runtime.offline", [file.sweep.shared_labels]), "runtime.topology=split"]
    config = load_config(files, shared)
    procs = file.place.procs_per_node or default_procs(config)
    plan = SweepPlan(
        file=file,
        space=space,
        files=tuple(files),
        overrides=tuple(shared),
        config=config,
        root=root,
        folder=root / (file.sweep.dir or Path("runs") / "sweeps" / file.sweep.name),
        trials=_count_trials(file, space),
        procs=procs,
        module=module,
    )
    _check_keys(plan, shared)
    _check_values(plan)
    _check_reports(plan)
    _check_schedule(plan)
    _check_labels(plan)
    return plan


def _count_trials(file: SweepFile, space: Mapping[str, Domain]) -> int:
    wanted = file.sweep.trials
    if file.search.method != "grid":
        for key, domain in space.items():
            if domain.kind == "grid":
                raise ConfigError(
                    f"space: {key} is a grid, and search.method is {file.search.method!r}, which draws values. Write "
                    f"choice, or set search.method = 'grid'."
                )
        return wanted or DEFAULT_TRIALS
    for key, domain in space.items():
        if domain.all_values is None:
            raise ConfigError(
                f"space: {key} is {domain.kind}, and search.method is 'grid', which tries every value. Write grid or "
                f"choice, or set search.method = 'random'."
            )
    points = prod(len(domain.all_values or ()) for domain in space.values())
    if wanted and wanted < points:
        raise ConfigError(
            f"sweep.trials is {wanted}, and the grid has {points} points. Leave trials at 0, name fewer values, or set "
            f"search.method = 'random'."
        )
    return points


def _check_keys(plan: SweepPlan, shared: Sequence[str]) -> None:
    known = set(all_keys())
    for key in plan.space:
        if key not in known and not key.startswith("method."):  # typed by the method, which a trial knows
            # The config's own error knows the nearest key.
            _blame("space", lambda key=key: override(plan.config, f"{key}=0"))
            raise ConfigError(
                f"space: {key} is a section of the config, not a setting. Name a setting in it."
            )
        if any(key.startswith(name) for name in NOT_SEARCHED):
            raise ConfigError(f"space: {key} belongs to the sweep itself and cannot be searched. Remove it.")
        if any(text.partition("=")[0].strip() == key for text in shared):
            raise ConfigError(
                f"space: {key} is searched, and set for all trials as well. Remove it from the space, or from "
                f"[settings] and the command line."
            )


def _check_values(plan: SweepPlan) -> None:
    """Every end of every range by itself, then some combinations as a search may draw them."""
    for key, domain in plan.space.items():
        for value in domain.probes:
            _check_trial(plan, {key: value})
    rng = random.Random(plan.file.sweep.seed)
    for _ in range(SAMPLES):
        _check_trial(plan, plan.sample(rng))


def _check_trial(plan: SweepPlan, values: Mapping[str, Any]) -> None:
    chosen = [to_override(key, value) for key, value in values.items()]
    what = f"space: {chosen[0]}" if len(chosen) == 1 else f"space: together, {', '.join(chosen)}"
    _blame(what, lambda: plan.trial_crews(override(plan.config, *chosen)))


def _blame(what: str, check: Any) -> None:
    """Run `check` and say in its error where the value came from."""
    try:
        check()
    except ConfigError as error:
        raise type(error)(f"{what}: {error}") from None


def _check_reports(plan: SweepPlan) -> None:
    """The metric must be written in time: a run validates at its last step, but not every trial gets there."""
    metric, log = plan.file.sweep.metric, plan.config.runtime.log
    if metric.startswith("validation/"):
        if not plan.config.data.validation:
            raise ConfigError(
                f"sweep.metric is {metric!r}, and data.validation names no shards. Set it, or choose another metric."
            )
        every, key = log.evaluate_every, "runtime.log.evaluate_every"
    else:
        every, key = log.every, "runtime.log.every"
    compared_early = plan.file.schedule.kind != "none" or plan.file.stop.patience
    if every > plan.total_steps and (compared_early or plan.total_steps < plan.config.train.steps):
        raise ConfigError(
            f"{key} ({every}) is more than the steps of a trial ({plan.total_steps}), so {metric} would be told too "
            f"late for what [schedule] and [stop] say. Lower it in [settings]."
        )


def _check_schedule(plan: SweepPlan) -> None:
    schedule, file = plan.file.schedule, plan.file
    if schedule.kind == "asha" and schedule.grace_steps >= plan.total_steps:
        raise ConfigError(
            f"schedule.grace_steps ({schedule.grace_steps}) leaves nothing of a trial's {plan.total_steps} steps. "
            f"Lower it."
        )
    if schedule.kind != "pbt":
        return
    if file.search.method != "random":
        raise ConfigError(
            f"search.method is {file.search.method!r} with schedule.kind = 'pbt', which chooses values itself after the "
            f"first ones. Use 'random'."
        )
    if plan.trials < 2:
        raise ConfigError(
            f"sweep.trials is {plan.trials} with schedule.kind = 'pbt'. A population needs two or more."
        )
    for key in plan.space:
        if not key.startswith(MAY_MUTATE) or key in NEVER_MUTATE:
            raise ConfigError(
                f"space: {key} cannot be changed in the middle of a run, as schedule.kind = 'pbt' does. Remove it; "
                f"keys that can begin with {', '.join(MAY_MUTATE)}."
            )
    checkpoint, every = plan.config.runtime.checkpoint.every, pbt_interval(plan)
    if checkpoint > every:
        raise ConfigError(
            f"runtime.checkpoint.every ({checkpoint}) is more than the steps between two changes of 'pbt' ({every}), so "
            f"there would be nothing to go on from. Set it to {every} in [settings], or raise schedule.every_steps."
        )


def pbt_interval(plan: SweepPlan) -> int:
    """Steps between two changes of a population."""
    return plan.file.schedule.every_steps or plan.config.runtime.log.evaluate_every


def _check_labels(plan: SweepPlan) -> None:
    """Shared labels must be there, and fit."""
    if not plan.file.sweep.shared_labels:
        return
    from tsal_dist.runs.other_runs import check_sources

    config = plan.config
    students = sum(crew.nodes * crew.procs for crew in plan.trial_crews(config))
    _blame("sweep.shared_labels", lambda: check_sources(config, students))
