"""The crews of one trial, over the machines it got: started together, watched together, ended together.

In `detached` a teacher that fails is started again, as `launch.local` does, while its student trains on. Anything
else that fails is the trial's failure: Tune starts the trial again, and that goes on from the last checkpoint.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launch import exit_status
from launch.crew import LEAVE_S, crew_words
from launch.keeper import Patience
from launch.process_plan import Crew
from launch.sweep.place import threads_of
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.config import RunConfig
from tsal_dist.errors import ExitCode
from tsal_dist.exchange.exit_note import Ending
from tsal_dist.run_dir import RunDir

TEACHER_RESTARTS = 3


class TrialMachine(Protocol):
    """A machine, as seen from where the trial is: every call may cross the network."""

    address: str

    def free_port(self) -> int: ...
    def start(self, name: str, words: Sequence[str], log: Path, settings: dict[str, str]) -> int: ...
    def poll(self) -> dict[str, int | None]: ...


@dataclass
class _Standing:
    """How a crew is doing."""

    patience: Patience
    started_at: float = 0.0
    next_start: float | None = None
    ending: ExitCode | None = None


class Crews:
    """All processes of one attempt of a trial."""

    def __init__(
        self,
        plan: SweepPlan,
        config: RunConfig,
        overrides: Sequence[str],
        run: Path,
        machines: Sequence[TrialMachine],
    ) -> None:
        self._plan, self._run, self._machines = plan, run, machines
        place = plan.file.place
        self._words = argparse.Namespace(
            config=plan.files, overrides=overrides, interface=place.interface, module=plan.module
        )
        # A trial with more CPUs than processes wants threads; launch.crew's default is one.
        self._settings = {"OMP_NUM_THREADS": str(threads_of(plan))}
        self._crews = plan.trial_crews(config)
        self._standing = {crew: _Standing(Patience(TEACHER_RESTARTS)) for crew in self._crews}

    def start(self) -> None:
        for crew in self._crews:
            self._start(crew)

    def look(self) -> Ending | None:
        """How the trial ended, once it has; None while it goes on."""
        codes = [machine.poll() for machine in self._machines]
        for crew, standing in self._standing.items():
            if standing.ending is None:
                self._tend(crew, standing, [codes[node].get(_name(crew)) for node in _nodes(crew)])
        student = next(crew for crew in self._crews if "student" in crew.plays)
        ending = self._standing[student].ending
        if ending is None:
            return None
        if ending is ExitCode.DONE:
            return Ending(ending, "done")
        wait_s = exit_status.NOTE_WAIT_S if student.nodes > 1 else 0.0
        notes = exit_status.read_endings(RunDir(self._run), student.plays, wait_s=wait_s).values()
        said = exit_status.worst(notes)
        # A crew whose note is good and whose code is not was struck down after it was done.
        return said if said.code is not ExitCode.DONE else Ending(ending, "ended by a signal")

    def _tend(self, crew: Crew, standing: _Standing, codes: list[int | None]) -> None:
        if standing.next_start is not None:
            if time.monotonic() >= standing.next_start:
                self._start(crew)
            return
        failed = [code for code in codes if code]
        if not failed and None in codes:
            return
        # Of a crew that is ending everywhere the last word counts; a failure anywhere is enough for a student.
        if "student" not in crew.plays and None in codes:
            return
        known = [ExitCode.of(code) for code in codes if code is not None]
        code = min(known, key=exit_status.SEVERITY.index)
        pause_s = None
        if "student" not in crew.plays:
            pause_s = standing.patience.pause_s(code, time.monotonic() - standing.started_at)
        if pause_s is None:
            standing.ending = code
        else:
            standing.next_start = time.monotonic() + pause_s

    def _start(self, crew: Crew) -> None:
        first = self._machines[crew.first_node]
        port = first.free_port() if crew.nodes > 1 else 0
        for node in _nodes(crew):
            meeting = [
                f"--node-rank={node - crew.first_node}",
                f"--address={first.address}",
                f"--port={port}",
            ]
            words = crew_words(crew, self._words)
            # One log per machine: two that append to one file over a network would overwrite each other.
            log = self._run / "logs" / f"{_name(crew)}{f'-{node}' if crew.nodes > 1 else ''}.log"
            self._machines[node].start(
                _name(crew), words + (meeting if crew.nodes > 1 else []), log, self._settings
            )
        standing = self._standing[crew]
        standing.started_at, standing.next_start = time.monotonic(), None


def leave_s(config: RunConfig) -> float:
    """How long a machine's crews may take to save and leave: torchrun's time, then launch.crew's own."""
    return config.runtime.deadlines.shutdown_s + 2 * LEAVE_S


def _name(crew: Crew) -> str:
    return crew.role or "world"


def _nodes(crew: Crew) -> range:
    return range(crew.first_node, crew.first_node + crew.nodes)
