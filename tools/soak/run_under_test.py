"""The run under test: each role a crew of its own, started again whenever it ends, as a scheduler would."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from launch import processes
from launch.process_plan import ALONE, AMONG_MACHINES
from tsal_dist.dist.environment import child_environment
from tsal_dist.errors import ExitCode
from tsal_dist.observe.snapshot import read_beats
from tsal_dist.run_dir import RunDir

logger = logging.getLogger("soak")

TRAIN = b"tsal_dist.train"
LAUNCHERS = {name.encode() for name in ("launch.crew", ALONE, AMONG_MACHINES)}


@dataclass
class Role:
    """One role and the crew that is it at the moment."""

    name: str
    command: Sequence[str]
    output: Path
    environment: Mapping[str, str]
    run_dir: RunDir
    world: int
    lives: int = 0
    finished: bool = False
    excused: int = 0
    """Ends that an injury has caused or will cause; any further one is a finding."""
    held: bool = False
    """Whether it is not to be started again for the moment."""
    ended_with: int | None = None
    """How its last life ended."""
    surprises: list[str] = field(default_factory=list)
    _process: "subprocess.Popen[bytes] | None" = None
    _before: dict[int, int] = field(default_factory=dict)
    """Per rank the incarnation of the last life."""

    def tend(self) -> None:
        """Start it, or take note of its end."""
        if self._process is None:
            if not (self.finished or self.held):
                self._start()
            return
        returned = self._process.poll()
        if returned is None:
            return
        self._process, self.ended_with = None, returned
        if returned == ExitCode.DONE:
            self.finished = True
        elif self.excused:
            self.excused -= 1
        else:
            self.surprises.append(f"the {self.name} left with {returned} by itself: {self.last_words()}")

    def ready(self) -> bool:
        """Whether every rank of its present life is at work."""
        if self._process is None:
            return False
        beats = [beat for beat in read_beats(self.run_dir, self.name) if beat.rank < self.world]
        fresh = [beat for beat in beats if beat.incarnation > self._before.get(beat.rank, 0)]
        return len(fresh) == self.world and all(beat.phase != "start" for beat in fresh)

    @property
    def pid(self) -> int | None:
        """Of its crew."""
        return self._process.pid if self._process else None

    def workers(self) -> list[int]:
        """Its training processes."""
        below = processes.descendants(self._process.pid) if self._process else []
        return [pid for pid in below if _is_worker(pid)]

    def signal_workers(self, number: signal.Signals) -> None:
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def ask_to_leave(self) -> None:
        if self._process is not None:
            processes.signal_group(self._process, signal.SIGTERM)

    def let_go(self) -> "subprocess.Popen[bytes]":
        """Its present crew, which is its own no more."""
        crew, self._process = self._process, None
        assert crew is not None, "it was at work a moment ago"
        return crew

    def last_words(self) -> str:
        lines = self.output.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines[-60:] if "rror" in line]
        return (errors or lines or ["(nothing)"])[-1][-300:]

    def _start(self) -> None:
        self._before = {beat.rank: beat.incarnation for beat in read_beats(self.run_dir, self.name)}
        self.lives += 1
        with open(self.output, "ab") as file:
            self._process = processes.start(self.command, self.environment, file)


class RunUnderTest:
    """Both roles."""

    def __init__(
        self,
        run_dir: RunDir,
        words: Sequence[str],
        steps: int,
        students: int,
        teachers: int,
        settings: Mapping[str, str],
    ) -> None:
        self.run_dir = run_dir
        self.steps = steps
        self._words = words
        self.watch: Callable[[], None] = lambda: None
        """Called often, whatever else is waited for."""
        self._beside: list[subprocess.Popen[bytes]] = []
        """Processes that are no crew of a role; whoever started them asks how they ended."""
        self.student, self.teacher = (
            self._role(name, world, settings)
            for name, world in (("student", students), ("teacher", teachers))
        )

    @property
    def words(self) -> list[str]:
        """Of its settings."""
        return [*self._words, f"train.steps={self.steps}", f"run.dir={self.run_dir.root}"]

    @property
    def finished(self) -> bool:
        return all(role.finished for role in self.roles)

    def go_on(self, steps: int) -> None:
        """Have a run that is over start again with more steps, as whoever extends one does."""
        self.steps = steps
        for role in self.roles:
            role.command, role.finished, role.excused = self._command(role.name, role.world), False, 0

    @property
    def roles(self) -> tuple[Role, Role]:
        return self.student, self.teacher

    def tend(self) -> None:
        for role in self.roles:
            role.tend()
        crews = [role.pid for role in self.roles if role.pid]
        if len(crews) < len(self.roles):
            # Those that a crew left behind when it ended; the other crew may have ended since it was asked.
            processes.reap(spare=[*crews, *(each.pid for each in self._beside)])
        self.watch()

    def wait(self, seconds: float) -> None:
        """Let time pass while the roles are looked after."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.1)

    def until(self, condition: Callable[[], object], limit_s: float) -> bool:
        """Wait for something while the roles are looked after; False after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.wait(0.1)
        return True

    def let_go(self, role: Role) -> "subprocess.Popen[bytes]":
        """The crew of `role`, which plays it no more: another one is started beside it. `look_after` it in the end."""
        crew = role.let_go()
        self._beside.append(crew)
        return crew

    def look_after(self, process: "subprocess.Popen[bytes]", limit_s: float) -> int | None:
        """How `process` ends; None where it does not within `limit_s`, and is killed."""
        self._beside.append(process)
        try:
            if not self.until(lambda: process.poll() is not None, limit_s):
                process.kill()
                process.wait()
                return None
            return process.returncode
        finally:
            self._beside = [each for each in self._beside if each is not process]

    def until_ready(self, limit_s: float) -> bool:
        """Wait until both roles are at work, or one has finished; False after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.tend()
            if self.student.finished or all(role.ready() for role in self.roles):
                return True
            time.sleep(0.1)
        return False

    def _command(self, name: str, world: int) -> list[str]:
        return [sys.executable, "-m", "launch.crew", f"--role={name}", f"--procs={world}", *self.words]

    def _role(self, name: str, world: int, settings: Mapping[str, str]) -> Role:
        output = self.run_dir.root.with_name(f"{self.run_dir.root.name}-{name}.log")
        return Role(
            name, self._command(name, world), output, child_environment(settings), self.run_dir, world
        )


def _is_worker(pid: int) -> bool:
    """Whether this is a training process: torchrun and the crew have the same words, but run another module."""
    try:
        words = (processes.PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return TRAIN in words and not LAUNCHERS & set(words)
