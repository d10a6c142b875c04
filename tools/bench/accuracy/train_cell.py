"""Train and measure one cell, each in a process of its own on one thread, and keep what came of it."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.bench.accuracy.cells import Cell, Result, keep_result
from tsal_dist.errors import TrainingError


def train_cell(cell: Cell, folder: Path, look: Callable[[Path], None] | None = None) -> Result:
    """A run that was interrupted goes on. Its folder goes once it is measured and, if asked for, looked at; the result stays."""
    run = folder / "runs" / cell.name
    interrupted = run.exists()
    started = time.monotonic()
    _call(["tsal_dist.train", "--resume-or-start", *cell.words, f"run.dir={run}"], f"training {cell.name}")
    seconds = None if interrupted else time.monotonic() - started
    where = [f"--test={cell.test}", f"--train={cell.labelled}", f"--video={cell.video}"]
    said = _call(["tools.bench.accuracy.measure", str(run), *where], f"measuring {cell.name}")
    result = Result(**json.loads(said.splitlines()[-1]), seconds=seconds)
    if look is not None:
        look(run)
    keep_result(folder, cell, result)
    shutil.rmtree(run)
    return result


def _call(module_and_words: list[str], what: str) -> str:
    """What one of our own modules printed; its last words are the error's if it fails."""
    from tsal_dist.dist.environment import child_environment

    done = subprocess.run(
        [sys.executable, "-m", *module_and_words],
        env=child_environment({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise TrainingError(f"{what} ended with code {done.returncode}: {last}")
    return done.stdout
