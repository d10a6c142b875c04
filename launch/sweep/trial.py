"""One trial, as Tune sees it: a Trainable whose steps are lines of metrics, and whose state is a run directory.

setup      which values, which folder
step       start what does not run yet; wait for the next line that has the metric
save       a note of where the run is, and at which checkpoint: the run directory holds the rest
load       of its own note: nothing to do, every start takes the run up; of another trial's: clone that run
cleanup    ask the crews to save and leave, then let nothing live
"""

import json
import math
import time
from pathlib import Path
from typing import Any

from ray import tune

from launch.sweep.crews import Crews, leave_s
from launch.sweep.lineage import TrialFolder, clone_run
from launch.sweep.remote import RemoteMachine, end_machines, take_machines
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.errors import ConfigError, ExitCode, TrainingError
from tsal_dist.exchange.exit_note import Ending
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run_dir import RunDir, whole_steps, write_whole

POLL_S = 0.3
NOTE = "run.json"
STOP = "stop"
"""In the sweep's folder: everybody is to leave, without waiting for the next line of metrics."""


class Trial(tune.Trainable):  # type: ignore[misc]
    """Lives as a Ray actor without resources of its own; its machines have them."""

    def setup(self, config: dict[str, Any], plan: SweepPlan) -> None:
        self._plan = plan
        self._values = {key: domain.decode(config[key]) for key, domain in plan.space.items()}
        self._folder = TrialFolder(plan.folder / "trials" / str(self.trial_id))
        self._machines: list[RemoteMachine] = []
        self._crews: Crews | None = None
        self._told_step = 0
        if self._folder.refusal:
            raise ConfigError(self._folder.refusal)

    def step(self) -> dict[str, Any]:
        # Not in setup: only now is it known whether the trial goes on from another one's checkpoint.
        if self._crews is None:
            self._crews = self._start()
        last_step = self._plan.config.train.steps
        while True:
            # In this order: what was written before the end is there after it.
            ending = self._crews.look()
            news = [line for line in self._lines() if line["step"] > self._told_step]
            # The last line waits for the end: a trial that is stopped at it would lose its last checkpoint.
            if news and (ending is not None or news[0]["step"] < last_step):
                done = ending is not None and ending.code is ExitCode.DONE and len(news) == 1
                return self._report(news[0], done)
            if ending is not None:
                return self._conclude(ending)
            if (self._plan.folder / STOP).exists():
                return {}
            time.sleep(POLL_S)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        steps = whole_steps(RunDir(self._folder.run).checkpoints("student"))
        note = {"run": str(self._folder.run), "step": steps[-1] if steps else None, "told": self._told_step}
        write_whole(Path(checkpoint_dir) / NOTE, json.dumps(note).encode())

    def load_checkpoint(self, checkpoint: str) -> None:
        note = json.loads((Path(checkpoint) / NOTE).read_text())
        source = Path(note["run"])
        if source.parent == self._folder.root:
            self._told_step = note["told"]
        elif note["step"] is not None:
            target = self._folder.next_run
            config = self._plan.trial_config(self._values, target)
            self._told_step = clone_run(source, note["step"], target, config)

    def cleanup(self) -> None:
        end_machines(self._machines, leave_s(self._plan.config))
        self._machines = []

    def _start(self) -> Crews:
        plan, run = self._plan, self._folder.run
        self._machines = take_machines(plan)
        for machine in self._machines:
            machine.arrive()
        overrides = plan.trial_overrides(self._values, run)
        crews = Crews(plan, plan.trial_config(self._values, run), overrides, run, self._machines)
        crews.start()
        return crews

    def _lines(self) -> list[dict[str, Any]]:
        """Every line that has the metric."""
        lines = read_metrics(RunDir(self._folder.run).metrics("student"))
        return [line for line in lines if self._plan.file.sweep.metric in line]

    def _report(self, line: dict[str, Any], done: bool) -> dict[str, Any]:
        sweep, value = self._plan.file.sweep, line[self._plan.file.sweep.metric]
        self._told_step = line["step"]
        finite = isinstance(value, int | float) and math.isfinite(value)
        # What is not finite must lose every comparison, and does not get better by waiting.
        worst = math.inf if sweep.mode == "min" else -math.inf
        return {
            "step": line["step"],
            sweep.metric: float(value) if finite else worst,
            "run": str(self._folder.run),
            "done": done or not finite,
        }

    def _conclude(self, ending: Ending) -> dict[str, Any]:
        """Say how it ended, where every line has been told."""
        code, reason = ending.code, ending.reason
        lines = self._lines()
        if code is ExitCode.DONE and lines:
            return self._report(lines[-1], done=True)
        if code is ExitCode.DONE:
            code, reason = ExitCode.WRONG_CONFIG, f"no line of metrics has {self._plan.file.sweep.metric}"
        where = f"{reason}; see {self._folder.run / 'logs'}"
        if code is ExitCode.WRONG_CONFIG:
            self._folder.refuse(where)
            raise ConfigError(where)
        raise TrainingError(where)
