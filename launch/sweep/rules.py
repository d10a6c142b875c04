"""When a trial ends, or the whole sweep, beside what the schedule decides."""

from typing import Any

from ray.tune import Stopper

from launch.sweep.states import Metric
from launch.sweep.trial import STOP
from launch.sweep.trial_plan import SweepPlan


class Rules(Stopper):  # type: ignore[misc]
    """Steps, patience and target, as the [stop] section says."""

    def __init__(self, plan: SweepPlan) -> None:
        sweep = plan.file.sweep
        self._metric = Metric(sweep.metric, sweep.mode)
        self._stop = plan.file.stop
        self._marker = plan.folder / STOP
        self._best: dict[str, float] = {}
        self._waits: dict[str, int] = {}
        self._reached = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = result.get(self._metric.name)
        if value is None:
            return False
        if self._stop.target is not None and not self._metric.better(self._stop.target, value):
            self._reached = True
        if trial_id not in self._best or self._metric.better(value, self._best[trial_id]):
            self._best[trial_id], self._waits[trial_id] = value, 0
        else:
            self._waits[trial_id] += 1
        tired = 0 < self._stop.patience <= self._waits[trial_id]
        return tired or 0 < self._stop.steps <= result["step"]

    def stop_all(self) -> bool:
        if self._reached:
            # Trials wait for lines of metrics, perhaps for minutes: this they see at once.
            self._marker.touch()
        return self._reached
