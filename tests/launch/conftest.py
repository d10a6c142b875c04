"""A tiny run of the stand-in trainer, started as a person would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Seconds of the real deadlines would be minutes of waiting here.
QUICK = [
    "runtime.deadlines.poll_s=0.1",
    "runtime.deadlines.silent_s=1",
    "runtime.deadlines.group_s=5",
    "runtime.deadlines.shutdown_s=8",
    "runtime.deadlines.grace_s=60",
    "runtime.checkpoint.every=5",
    "train.burn_in_steps=1",
]


class Job:
    """A launcher's process and the run directory it works in."""

    def __init__(self, root: Path, process: "subprocess.Popen[str]") -> None:
        self.root = root
        self.process = process

    def finish(self, timeout_s: float = 90.0) -> int:
        self.output = self.process.communicate(timeout=timeout_s)[0]
        return self.process.returncode

    def starts(self, role: str) -> list[dict]:
        path = self.root / "logs" / "starts.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["role"] == role]


@pytest.fixture
def start_local(tmp_path):
    """`start_local(*words, faults=...)` runs launch.local on the stand-in; whatever is left is killed."""
    jobs = []

    def start(*words: str, faults: dict | None = None, steps: int = 30) -> Job:
        root = tmp_path / "run"
        command = [sys.executable, "-m", "launch.local", "--config", "configs/demo.toml"]
        command += ["--module", "tests.launch.stand_in", *words, *QUICK]
        process = subprocess.Popen(
            [*command, f"run.dir={root}", f"train.steps={steps}"],
            cwd=ROOT,
            env={**os.environ, "STAND_IN": json.dumps(faults or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        jobs.append(Job(root, process))
        return jobs[-1]

    yield start
    for job in jobs:
        if not job.process.stdout.closed:
            job.process.kill()
            job.process.communicate()
