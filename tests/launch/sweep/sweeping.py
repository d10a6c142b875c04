"""Sweeps of the stand-in trainer, started as a person would, and an audit of the processes they leave."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from launch.processes import descendants
from tests.launch.conftest import QUICK, ROOT

# Seconds of the real deadlines would be minutes of waiting here.
SETTINGS = [
    *(word for word in QUICK if "checkpoint" not in word),
    "data.validation=shards/none",
    "train.steps=40",
    "runtime.log.evaluate_every=10",
    "runtime.checkpoint.every=10",
]


class Sweep:
    """A sweep's process and its folder."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.process = process
        self.output = ""

    def finish(self, timeout_s: float = 180.0) -> int:
        self.output = self.process.communicate(timeout=timeout_s)[0]
        return self.process.returncode

    def trials(self) -> list[dict]:
        """Best first."""
        return json.loads((self.folder / "report" / "trials.json").read_text())

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("trials/*/run_*/run.json"))

    def starts(self, role: str = "") -> list[dict]:
        """Every training process that ever started, of all trials, each with its run."""
        found = []
        for run in self.runs():
            path = run / "logs" / "starts.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            found += [{**line, "run": run} for line in lines if not role or line["role"] == role]
        return found

    def wait_for(self, condition, timeout_s: float = 120.0):
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline, "waited in vain"
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.1)
        return found

    def steps(self) -> list[int]:
        """The last step with a line of metrics, of every run that has one."""
        paths = [run / "metrics" / "student.jsonl" for run in self.runs()]
        return [json.loads(path.read_text().splitlines()[-1])["step"] for path in paths if path.exists()]

    def last_step(self) -> int:
        return max(self.steps(), default=0)


def write_sweep(path: Path, text: str, space: str) -> Path:
    path.write_text(f"{text}\n[space]\n{space}\n")
    return path


def start_sweep(folder: Path, sweep_file: Path, *words: str, faults: dict | None = None) -> Sweep:
    """launch.sweep on the stand-in, in a cluster of its own unless `words` name one."""
    command = [
        sys.executable,
        "-m",
        "launch.sweep",
        "--config",
        "configs/demo.toml",
        "--sweep",
        str(sweep_file),
    ]
    command += ["--module", "tests.launch.stand_in", *SETTINGS, *words]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "STAND_IN": json.dumps(faults or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Sweep(folder, process)


def processes_of(folder: Path) -> list[int]:
    """Every process whose command line names the sweep's folder: crews, torchruns, training, and the sweep itself."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:  # it has left
            continue
        if str(folder) in words and int(entry.parent.name) != os.getpid():
            found.append(int(entry.parent.name))
    return found


def assert_nothing_left(folder: Path, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while left := processes_of(folder):
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
        time.sleep(0.2)


def end(sweep: Sweep) -> None:
    """Whatever a failed test has left of it."""
    if sweep.process.poll() is None:
        below = descendants(sweep.process.pid)
        sweep.process.kill()
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    if not sweep.process.stdout.closed:
        sweep.process.communicate()
