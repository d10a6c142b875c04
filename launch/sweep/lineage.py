"""A trial's folder: its run directory, and those it had before it went on from a better trial's checkpoint.

trials/<id>/run_0            the run a trial begins with
trials/<id>/run_1 ...        clones; the last one counts
trials/<id>/refused          why it must not be started again, until the sweep is

A clone is what a run would be if it were killed at a step and taken up again, with other settings: the same
identity, checkpoints up to that step, weights and label log. Files that never change are shared by hard links.
"""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tsal_dist.config import RunConfig
from tsal_dist.errors import CheckpointError
from tsal_dist.observe.services import SERVICES
from tsal_dist.run_dir import COMMIT, ROLES, RunDir, step_folder, whole_steps, write_whole
from tsal_dist.runs.follow_shards import follow_shards

# Written once and only ever removed.
UNCHANGING = (".safetensors", ".parquet")
NOT_CLONED = (
    # An attempt's own: a clone has signs of life of its own, and tells how it ended by itself.
    *("logs", "report", "run.json", "ctl/beat", "ctl/exit", "ctl/stop", "ctl/turn"),
    # What tracking services were told, they were told of the source.
    *("metrics/wandb", "metrics/mlflow.json"),
    *(f"metrics/{service}-{role}.json" for service in SERVICES for role in ROLES),
)


@dataclass(frozen=True)
class TrialFolder:
    """One trial's."""

    root: Path

    @property
    def run(self) -> Path:
        """The run directory that counts; it may be yet to come."""
        return self.root / f"run_{max(self._numbers(), default=0)}"

    @property
    def next_run(self) -> Path:
        """Where a clone goes."""
        return self.root / f"run_{max(self._numbers(), default=-1) + 1}"

    @property
    def refusal(self) -> str:
        """Why the trial must not be started again, or ""."""
        path = self.root / "refused"
        return path.read_text() if path.exists() else ""

    def forgive(self) -> None:
        """Another start of the sweep may find what was missing: a package, a right, a node's Python."""
        (self.root / "refused").unlink(missing_ok=True)

    def refuse(self, reason: str) -> None:
        write_whole(self.root / "refused", reason.encode())

    def _numbers(self) -> Iterable[int]:
        names = [path.name.removeprefix("run_") for path in self.root.glob("run_*")]
        return [int(name) for name in names if name.isdigit()]


def clone_run(source: Path, step: int, target: Path, config: RunConfig) -> int:
    """Make `target` go on where `source` was at `step`, under `config`; the step it will go on from.

    The source may be training. Should it have dropped that checkpoint meanwhile, the next one counts.
    """
    aside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    _copy(source, aside, source)
    saved = RunDir(aside).checkpoints("student")
    whole = [found for found in whole_steps(saved) if found >= step and _is_whole(step_folder(saved, found))]
    if not whole:
        raise CheckpointError(
            f"{source} has no whole checkpoint of step {step} or later, so {target} cannot go on from it. Raise "
            f"runtime.checkpoint.keep in [settings]."
        )
    start = whole[0]
    for later in whole_steps(saved):
        if later > start:
            shutil.rmtree(step_folder(saved, later))
    for role in ROLES:
        _cut_metrics(RunDir(aside).metrics(role), start)
    written = json.loads((source / "run.json").read_text())
    written["config"], written["told_as"] = follow_shards(config).model_dump(mode="json"), uuid4().hex
    write_whole(aside / "run.json", json.dumps(written, indent=1).encode())
    os.rename(aside, target)
    return start


def _copy(folder: Path, target: Path, root: Path) -> None:
    target.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.relative_to(root).as_posix() in NOT_CLONED or path.name.endswith(".tmp"):
            continue
        # What a run removes while it is copied, it no longer needs.
        with suppress(FileNotFoundError):
            if path.is_dir():
                _copy(path, target / path.name, root)
            elif path.suffix in UNCHANGING:
                _link(path, target / path.name)
            else:
                shutil.copy2(path, target / path.name)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a filesystem without hard links, or too many of them
        shutil.copy2(path, target)


def _is_whole(place: Path) -> bool:
    """Whether everything that the checkpoint promises was still there to be copied."""
    promised = json.loads((place / COMMIT).read_text() or "{}").get("files", ())
    return all((place / name).exists() for name in promised)


def _cut_metrics(path: Path, step: int) -> None:
    """Leave out what the source learnt after `step`: the clone has not."""
    if not path.exists():
        return
    kept = []
    for text in path.read_text().splitlines():
        with suppress(json.JSONDecodeError, KeyError):
            if json.loads(text)["step"] <= step:
                kept.append(text)
    path.write_text("".join(f"{text}\n" for text in kept))
