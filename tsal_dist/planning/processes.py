"""The processes of one run on this machine, for measuring: each kept to one core, all held and let go at will.

Two teams that take turns on the same cores can be compared round by round without paying for a start every time, and
what is measured is their steady state. A team that is held does nothing at all (SIGSTOP), its files stay as they are.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tsal_dist.dist.environment import child_environment
from tsal_dist.dist.local_store import seat, serve_store
from tsal_dist.errors import TrainingError
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run_dir import RunDir

Line = Mapping[str, Any]
TRAIN = ("-m", "tsal_dist.train")
LOOK_S, GLANCE_BYTES = 0.1, 1 << 14
"""How often the end of the metrics is looked at, and how much of it: the cores belong to those who are measured."""


class MeasuredProcesses:
    """One run's processes, in rank order. They are killed on leaving: nobody wants what they learnt."""

    def __init__(
        self, run_dir: Path, overrides: Sequence[str], procs: int, entry: Sequence[str] = TRAIN
    ) -> None:
        """Start `procs` processes as torchrun would, each with one thread."""
        self._metrics = RunDir(run_dir).metrics("student")
        self._said = run_dir.with_name(f"{run_dir.name}.out")
        self._said.parent.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        # A held process would outlive us for ever, and one that works would train to no end.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*bound, sys.executable, *entry, *overrides, f"run.dir={run_dir}", "runtime.log.every=1"]
        self._store = serve_store()
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with open(self._said, "wb") as said:
            for rank in range(procs):
                told = child_environment(seat(rank, procs, self._store.port) | threads)
                process = subprocess.Popen(
                    command, env=told, stdin=subprocess.DEVNULL, stdout=said, stderr=said
                )
                self._processes.append(process)
                _keep_to_core(process.pid, rank)

    def wait_for_step(self, step: int, timeout_s: float) -> None:
        """Return once this step is written down; raise TrainingError where it will not be."""
        deadline = time.monotonic() + timeout_s
        while not any(line["step"] >= step for line in self.lines(GLANCE_BYTES)):
            self.check()
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"Step {step} was not reached in {timeout_s:g} s: {self._last_words()} (all of it: {self._said})"
                )
            time.sleep(LOOK_S)

    def watch(self, seconds: float, least: int = 3, limit_s: float = 120.0) -> list[Line]:
        """Let the team run for so long, and on until `least` steps are whole; the lines written in that time.

        Of the first line only the time counts: its step began before.
        """
        before = self._last_step()
        begun, start = time.time(), time.monotonic()
        self.go()
        while (passed_s := time.monotonic() - start) < seconds or self._last_step() <= before + least:
            if passed_s > max(limit_s, seconds):
                raise TrainingError(
                    f"{self._metrics} shows {self._last_step() - before} more steps after {limit_s:g} s. Take a "
                    f"smaller batch or model."
                )
            time.sleep(LOOK_S)
            self.check()
        self.hold()
        return [line for line in self.lines() if line["time"] >= begun]

    def wait_for_score(self, step: int, timeout_s: float) -> None:
        """Return once the evaluation at this step, the run's last, is written down."""
        deadline = time.monotonic() + timeout_s
        while not any("validation/nme" in line and line["step"] >= step for line in self.every_line()):
            if any(process.poll() for process in self._processes):  # those that are done have ended with 0
                self.check()
            if time.monotonic() > deadline:
                raise TrainingError(f"{self._metrics} has no score of step {step} after {timeout_s:g} s.")
            time.sleep(10 * LOOK_S)

    def every_line(self) -> list[Line]:
        """All that the student wrote down, scores included."""
        return list(read_metrics(self._metrics))

    def lines(self, last_bytes: int = 0) -> list[Line]:
        """What the student wrote down of its steps so far; the last of it, if asked so."""
        return [line for line in read_metrics(self._metrics, last_bytes) if "speed/wait_share" in line]

    def hold(self) -> None:
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self, rank: int) -> None:
        """As an accident would: without a word."""
        self._processes[rank].kill()
        self._processes[rank].wait()
        del self._processes[rank]

    def check(self) -> None:
        """Raise TrainingError where a process has ended."""
        if any(process.poll() is not None for process in self._processes):
            raise TrainingError(f"A process has ended: {self._last_words()} (all of it: {self._said})")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def __enter__(self) -> "MeasuredProcesses":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last_step(self) -> int:
        lines = self.lines(GLANCE_BYTES)
        return int(lines[-1]["step"]) if lines else 0

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or ["not a word"])[-1]


def take_turns(
    teams: Sequence[MeasuredProcesses], rounds: int, seconds: float, rows: int
) -> list[list[float]]:
    """Steps per second of each team in each round, everybody else being held; every second round in opposite order.

    `rows` pseudo-labelled frames make a whole step.
    """
    rates: list[list[float]] = [[] for _ in teams]
    for number in range(rounds):
        order = range(len(teams))
        for place in reversed(order) if number % 2 else order:
            rates[place].append(fed_steps_per_s(teams[place].watch(seconds), rows))
    return rates


def fed_steps_per_s(lines: Sequence[Line], rows: int) -> float:
    """Steps per second between the first and the last of these lines.

    A step for which label rows were missing counts as the share of them that it had.
    """
    first, last = lines[0], lines[-1]
    steps = last["step"] - first["step"]
    missing = last["queue/missing"] - first["queue/missing"]
    return float((steps - missing / rows) / (last["time"] - first["time"]))


def share(lines: Sequence[Line], phase: str) -> float:
    """The share of the time between the first and the last of these lines that went into a phase."""
    spent = passed = 0.0
    for before, line in zip(lines, lines[1:], strict=False):
        span = line["time"] - before["time"]
        spent += span * line[f"speed/{phase}_share"]
        passed += span
    return spent / passed


def _keep_to_core(pid: int, rank: int) -> None:
    """Pin a process before it has started a second thread; where the system knows no such thing, leave it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[rank % len(cores)]})
