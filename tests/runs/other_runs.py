"""Runs that are taught by other runs."""

import shutil
from pathlib import Path

from tests.ranks import run_ranks
from tests.roles.short_runs import train_rank


def rerun(folder: Path, *argv: str, world: int = 1) -> Path:
    """Train into `folder` with this command line; the folder."""
    codes = run_ranks(train_rank, world, [*argv, f"run.dir={folder}"], group=False)
    assert codes == [0] * world
    return folder


def copy_run(run: Path, folder: Path) -> Path:
    """What of a run others learn from, in a place where it may be spoilt."""
    for part in ("metrics", "queue"):
        shutil.copytree(run / part, folder / part)
    shutil.copy(run / "run.json", folder)
    return folder
