"""Between Tune and a person: what the trials are doing, on a terminal or in a log, and how a sweep is interrupted."""

import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live

from launch.sweep import states
from launch.sweep.lineage import TrialFolder
from launch.sweep.states import Curves, Metric, TrialState
from launch.sweep.table import draw_trials, format_line
from launch.sweep.trial import STOP
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.observe.snapshot import read_beats
from tsal_dist.run_dir import RunDir

logger = logging.getLogger("launch.sweep")

LIVE_S, LINE_S = 1.0, 30.0
STATUS = {
    "PENDING": states.WAITS,
    "RUNNING": states.RUNS,
    "PAUSED": states.PAUSED,
    "ERROR": states.FAILED,
    "TERMINATED": states.DONE,
}


class Watch(Callback):  # type: ignore[misc]
    """Sees every trial after each of Tune's steps, and remembers it."""

    def __init__(self, plan: SweepPlan, console: Console) -> None:
        self._plan = plan
        self._metric = Metric(plan.file.sweep.metric, plan.file.sweep.mode)
        self._curves = Curves(plan.file.sweep.metric)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told = self._begun = time.monotonic()
        self.interrupted = ""
        """Why everything was to stop: a signal's name, or the budget."""
        self.seen: list[TrialState] = []
        self._over: set[str] = set()

    def setup(self, **info: Any) -> None:
        # Tune has just installed its own handler; it only knows SIGINT and SIGUSR1, and does not tell the trials.
        self._tune_handler = signal.getsignal(signal.SIGUSR1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._interrupt)
        if self._live:
            self._live.start()

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        # At the very end Tune calls all trials terminated; those that are so before really are.
        self._over |= {trial.trial_id for trial in trials if trial.status == "TERMINATED"}

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        self.on_step_begin(iteration, trials)
        now = time.monotonic()
        budget_s = self._plan.file.sweep.time_s
        if budget_s and now - self._begun > budget_s and not self.interrupted:
            self._stop_all(f"sweep.time_s ({budget_s:g}) is over")
        if now - self._told >= (LIVE_S if self._live else LINE_S):
            self._told = now
            self._look(trials)
            if self._live:
                self._live.update(draw_trials(self.seen, self._metric, self._plan.total_steps), refresh=True)
            else:
                logger.info(format_line(self.seen, self._metric, self._plan.trials))

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        logger.warning(
            "trial %s failed (%s); failure %d of at most %d, going on from its last checkpoint",
            *(trial.trial_id, _reason(trial), trial.num_failures, self._plan.file.sweep.retries),
        )

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        logger.error("trial %s is given up: %s", trial.trial_id, _reason(trial))

    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        self._look(trials)
        if self._live:
            self._live.update("")
            self._live.stop()
            self._live = None

    def _look(self, trials: Sequence[Any]) -> None:
        self.seen = [self._state(trial) for trial in trials]

    def _state(self, trial: Any) -> TrialState:
        folder = TrialFolder(self._plan.folder / "trials" / trial.trial_id)
        run, told = folder.run, trial.last_result or {}
        curve = self._curves.of(str(run))
        status = STATUS.get(trial.status, states.WAITS)
        step = max(int(told.get("step", 0)), _beating_step(RunDir(run)) if status == states.RUNS else 0)
        if status == states.DONE and self.interrupted and trial.trial_id not in self._over:
            status = states.SAVED
        elif status == states.DONE and step < self._plan.total_steps:
            status = states.STOPPED
        values = {key: domain.decode(trial.config[key]) for key, domain in self._plan.space.items()}
        return TrialState(
            id=trial.trial_id,
            values=values,
            status=status,
            step=step,
            value=curve[-1][1] if curve else None,
            best=self._metric.best([value for _, value in curve]),
            seconds=float(told.get("time_total_s", 0.0)),
            run=str(run),
            failures=trial.num_failures,
            error=_reason(trial) if status == states.FAILED else "",
            clones=int(run.name.removeprefix("run_")),
        )

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._stop_all(signal.Signals(number).name)

    def _stop_all(self, reason: str) -> None:
        self.interrupted = reason
        # Trials wait for lines of metrics, perhaps for minutes: this they see at once.
        (self._plan.folder / STOP).touch()
        if callable(self._tune_handler):
            self._tune_handler(signal.SIGUSR1, None)  # from here on a second Ctrl-C ends at once


def _beating_step(run: RunDir) -> int:
    """How far a trial is between two evaluations, by its student's heartbeat."""
    beats = [*read_beats(run, "student"), *read_beats(run, "inline")]
    return next((beat.step for beat in beats if beat.rank == 0), 0)


def _reason(trial: Any) -> str:
    """The last line of what a trial failed with: our own errors are one sentence there."""
    # Tune's own way to ask looks in the sweep's folder, where the file is only put later.
    path = Path(trial.error_file or "")
    text = path.read_text() if path.is_file() else str(trial.get_error() or "")
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"
