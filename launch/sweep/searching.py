"""From a plan to the parts of Ray Tune that choose values and decide who goes on."""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import BasicVariantGenerator, SearchAlgorithm, Searcher

from launch.sweep.space import Domain
from launch.sweep.trial_plan import SweepPlan, pbt_interval
from tsal_dist.errors import MissingExtra


def tune_space(plan: SweepPlan) -> dict[str, Any]:
    """The space in Tune's words."""
    grid = plan.file.search.method == "grid"
    return {key: _tune_domain(domain, grid) for key, domain in plan.space.items()}


def build_searcher(plan: SweepPlan) -> SearchAlgorithm | Searcher:
    """What chooses the values of each trial."""
    sweep, search = plan.file.sweep, plan.file.search
    if search.method != "optuna":
        return BasicVariantGenerator(random_state=sweep.seed, max_concurrent=sweep.concurrent)
    try:
        import optuna
    except ImportError:
        raise MissingExtra("optuna", "tune", "search.method = 'optuna'") from None
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=sweep.seed, n_startup_trials=search.startup_trials)
    return OptunaSearch(sampler=sampler)


def build_scheduler(plan: SweepPlan, room: int) -> TrialScheduler:
    """What decides which trials go on, by student steps. `room` is how many trials can run at a time."""
    schedule = plan.file.schedule
    if schedule.kind == "none":
        return FIFOScheduler()
    if schedule.kind == "asha":
        return ASHAScheduler(
            time_attr="step",
            max_t=plan.total_steps,
            grace_period=asha_grace(plan),
            reduction_factor=schedule.reduction,
        )
    return Population(
        takes_turns=plan.trials > min(room, plan.file.sweep.concurrent or room),
        time_attr="step",
        perturbation_interval=pbt_interval(plan),
        burn_in_period=0,
        hyperparam_mutations=tune_space(plan),
        quantile_fraction=schedule.quantile,
        resample_probability=schedule.resample,
        custom_explore_fn=_StayInside(dict(plan.space)),
        require_attrs=False,
    )


def asha_grace(plan: SweepPlan) -> int:
    """Steps before which no trial is stopped."""
    return plan.file.schedule.grace_steps or min(plan.config.runtime.log.evaluate_every, plan.total_steps)


class Population(PopulationBasedTraining):  # type: ignore[misc]
    """PBT that pauses a trial only where trials must take turns.

    Tune's own pauses one whenever another waits, be it only for its new processes: a restart for nothing.
    """

    def __init__(self, takes_turns: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._takes_turns = takes_turns

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.PAUSE and not self._takes_turns:
            return str(TrialScheduler.CONTINUE)
        return decision


class _StayInside:
    """PBT multiplies and divides without looking at ranges."""

    def __init__(self, space: Mapping[str, Domain]) -> None:
        self._space = space

    def __call__(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self._space[key].clip(value) if key in self._space else value
            for key, value in values.items()
        }


def _tune_domain(domain: Domain, grid: bool) -> Any:
    if grid:
        return tune.grid_search([domain.encode(value) for value in domain.all_values or ()])
    low, high = domain.values[0], domain.values[-1]
    if domain.kind == "uniform":
        return tune.uniform(low, high)
    if domain.kind == "loguniform":
        return tune.loguniform(low, high)
    if domain.kind == "randint":
        return tune.randint(low, high + 1)
    return tune.choice([domain.encode(value) for value in domain.values])
