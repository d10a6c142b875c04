"""Real processes of real runs: started as a person would, watched through files, killed by their numbers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.roles.short_runs import words

ROOT = Path(__file__).parents[2]
QUICK = (
    "runtime.topology=split",
    "train.burn_in_steps=4",
    "train.labelled_batch=2",
    "train.unlabelled_batch=8",
    "runtime.queue.segment_rows=16",
    "runtime.queue.segment_age_s=0.5",
    "runtime.queue.high_water_rows=128",
    "runtime.queue.low_water_rows=32",
    "runtime.weights.publish_every=4",
    "runtime.checkpoint.every=10",
    "runtime.log.every=2",
    "runtime.log.evaluate_every=1000",
    "runtime.deadlines.poll_s=0.1",
    "runtime.deadlines.silent_s=15",
    "runtime.deadlines.meet_s=30",
    "runtime.deadlines.group_s=40",
    "runtime.deadlines.shutdown_s=50",
    "runtime.deadlines.grace_s=60",
)
"""Both roles work from step 4 on, and every deadline passes within a test."""


class Job:
    """One launch. `output` is all it printed so far."""

    def __init__(self, command: Sequence[str], folder: Path, name: str) -> None:
        self.folder = folder
        self._printed = folder.with_name(f"{folder.name}-{name}.txt")
        self._printed.parent.mkdir(parents=True, exist_ok=True)
        taken = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        environment = {name: value for name, value in os.environ.items() if name not in taken}
        with open(self._printed, "ab") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                # Should a process abort, it says what each of its threads was doing.
                env={
                    **environment,
                    "OMP_NUM_THREADS": "1",
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONFAULTHANDLER": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._printed.read_text(errors="replace")

    def finish(self, limit_s: float = 120.0) -> int:
        """Its exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended after {limit_s:g} s:\n{self.output[-4000:]}") from None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def until(self, ready: Callable[[], object], what: str, limit_s: float = 90.0) -> None:
        """Wait for something that this job is to do before it ends."""
        deadline = time.monotonic() + limit_s
        while not ready():
            assert self.process.poll() is None, f"it ended before {what}:\n{self.output[-4000:]}"
            assert time.monotonic() < deadline, f"no {what} in {limit_s:g} s:\n{self.output[-4000:]}"
            time.sleep(0.02)


class Jobs:
    """All launches of a test."""

    def __init__(self) -> None:
        self._started: list[Job] = []

    def torchrun(self, faces, folder: Path, procs: int, *more: str, restarts: int = 0, flags=()) -> Job:
        where = ["--standalone", f"--nproc-per-node={procs}", f"--max-restarts={restarts}"]
        command = [sys.executable, "-m", "torch.distributed.run", *where, "-m", "tsal_dist.train"]
        return self._start([*command, *flags, *words(faces, folder, *QUICK, *more)], folder, "torchrun")

    def role(self, faces, folder: Path, role: str, *more: str, flags=("--resume-or-start",)) -> Job:
        """One process that is a whole role, as in `detached`."""
        own = ("runtime.topology=detached", f"runtime.role={role}")
        command = [sys.executable, "-m", "tsal_dist.train", *flags]
        return self._start([*command, *words(faces, folder, *QUICK, *own, *more)], folder, role)

    def crew(
        self, faces, folder: Path, role: str, procs: int, *more: str, flags=("--resume-or-start",)
    ) -> Job:
        """A role of several processes, as in `detached`."""
        own = ("runtime.topology=detached", f"runtime.role={role}")
        return self.torchrun(faces, folder, procs, *own, *more, flags=flags)

    def inline(self, faces, folder: Path, *more: str, flags=()) -> Job:
        """One process that is both roles, on the settings of `short_runs`."""
        command = [sys.executable, "-m", "tsal_dist.train", *flags]
        return self._start([*command, *words(faces, folder, *more)], folder, "inline")

    def local(self, faces, folder: Path, *more: str, topology: str = "detached", flags=()) -> Job:
        command = [sys.executable, "-m", "launch.local", *flags]
        own = (f"runtime.topology={topology}",)
        return self._start([*command, *words(faces, folder, *QUICK, *own, *more)], folder, "local")

    def __enter__(self) -> "Jobs":
        return self

    def __exit__(self, *error: object) -> None:
        for job in self._started:
            if job.process.poll() is None:
                job.process.kill()
                job.process.wait()
            for pid in worker_pids(job.folder):
                kill(pid)

    def _start(self, command: Sequence[str], folder: Path, name: str) -> Job:
        self._started.append(Job(command, folder, name))
        return self._started[-1]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def worker_pids(folder: Path) -> list[int]:
    """The living training processes of a run."""
    return [
        pid for log in folder.glob("logs/attempt_*/*.log") for pid in _logged(log) if _works_in(pid, folder)
    ]


def worker_pid(folder: Path, role: str, rank: int = 0) -> int | None:
    """The living process of a rank, the newest of them."""
    logs = folder.glob(f"logs/attempt_*/{role}-r{rank}.log")
    pids = [pid for log in sorted(logs) for pid in _logged(log) if _works_in(pid, folder)]
    return pids[-1] if pids else None


def student_step(folder: Path) -> int:
    """The last step that was written down."""
    return last_numbers(folder, "student").get("step", 0)


def last_numbers(folder: Path, role: str) -> dict:
    """Of every number the last that was written down."""
    path = folder / "metrics" / f"{role}.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return {name: value for line in lines for name, value in json.loads(line).items()}


def notes(folder: Path) -> dict[str, int]:
    """The exit code that each role left for its launcher."""
    return {path.stem: json.loads(path.read_text())["code"] for path in (folder / "ctl/exit").glob("*.json")}


def log_text(folder: Path, role: str) -> str:
    logs = sorted(folder.glob(f"logs/attempt_*/{role}-r*.log"))
    return "".join(log.read_text() for log in logs)


def beat(folder: Path, role: str, rank: int = 0) -> dict:
    path = folder / "ctl" / "beat" / f"{role}-{rank}.json"
    text = path.read_text() if path.exists() else ""
    return json.loads(text) if text else {}


def committed(folder: Path, role: str = "student") -> list[int]:
    """Steps of whole checkpoints."""
    places = (folder / "checkpoints" / role).glob("step_*/COMMIT")
    return sorted(int(place.parent.name.removeprefix("step_")) for place in places)


def _logged(log: Path) -> list[int]:
    return [int(number) for number in re.findall(r"attempt \d+, process (\d+)", log.read_text())]


def _works_in(pid: int, folder: Path) -> bool:
    """Whether this number still is a process of that run: numbers are used again."""
    try:
        return f"run.dir={folder}" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return False
