"""A plan, handed to Ray Tune and watched to its end.

Tune's own entry with every part passed anew: a resumed sweep so has the settings of this start, and Tune restores
what its parts remember. Its experiment state is pickled, which is Ray's choice; resume only sweeps of your own.
"""

import logging
import random
import warnings
from typing import Any

import numpy as np
from ray import tune
from ray.tune import CheckpointConfig, PlacementGroupFactory, ResumeConfig
from rich.console import Console

from launch.sweep.cluster import room
from launch.sweep.lineage import TrialFolder
from launch.sweep.rules import Rules
from launch.sweep.searching import build_scheduler, build_searcher, tune_space
from launch.sweep.trial import STOP, Trial
from launch.sweep.trial_plan import SweepPlan
from launch.sweep.watch import Watch

STATE = "tune"
"""Tune's own folder within the sweep's."""


def run_tune(plan: SweepPlan, resume: bool, console: Console) -> Watch:
    """Run all trials; what was seen of them, and whether somebody interrupted."""
    (plan.folder / STOP).unlink(missing_ok=True)
    (plan.folder / "trials").mkdir(parents=True, exist_ok=True)
    for trial in (plan.folder / "trials").iterdir():
        TrialFolder(trial).forgive()
    # PBT draws from the global generators.
    random.seed(plan.file.sweep.seed)
    np.random.seed(plan.file.sweep.seed)
    _quieten()
    watch, sweep = Watch(plan, console), plan.file.sweep
    bundles = [{}, *plan.bundles]  # the first one is the trial's own, which only waits
    with warnings.catch_warnings():
        # "Consider boosting PBT performance by enabling reuse_actors": processes are what takes time here.
        warnings.filterwarnings("ignore", message="Consider boosting PBT")
        tune.run(
            tune.with_parameters(Trial, plan=plan),
            name=STATE,
            storage_path=str(plan.folder),
            metric=sweep.metric,
            mode=sweep.mode,
            config=tune_space(plan),
            num_samples=1 if plan.file.search.method == "grid" else plan.trials,
            resources_per_trial=PlacementGroupFactory(bundles, strategy=plan.file.place.strategy),
            search_alg=build_searcher(plan),
            scheduler=build_scheduler(plan, room(plan)),
            # BasicVariantGenerator limits itself, and Tune objects to a second limit.
            max_concurrent_trials=sweep.concurrent or None if plan.file.search.method == "optuna" else None,
            stop=Rules(plan),
            # All are kept: a note is a line of JSON, and another trial may be about to go on from it.
            checkpoint_config=CheckpointConfig(checkpoint_frequency=1, checkpoint_at_end=True),
            max_failures=sweep.retries,
            callbacks=[watch],
            trial_name_creator=_name,
            trial_dirname_creator=_name,
            resume_config=_resume_config() if resume else None,
            raise_on_failed_trial=False,
            verbose=0,
        )
    return watch


def can_resume(plan: SweepPlan) -> bool:
    """Whether Tune has written down anything to go on with."""
    return any((plan.folder / STATE).glob("experiment_state-*.json"))


def _resume_config() -> ResumeConfig:
    kind = ResumeConfig.ResumeType
    return ResumeConfig(finished=kind.SKIP, unfinished=kind.RESUME, errored=kind.RESUME)


def _name(trial: Any) -> str:
    return str(trial.trial_id)


def _quieten() -> None:
    """Trials that fail are told by `watch`, in one line; of the rest only what went wrong is heard."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune.tune").addFilter(
        lambda record: not record.getMessage().startswith("Trials did not complete")
    )
