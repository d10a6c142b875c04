"""A run's directory, opened: made for a new run, refused for a foreign one, taken up again when asked.

`run.json` is written once, by whoever comes first, and says what the run is. A later process must bring the
same config, save for what may change between attempts: where the run lives, how it is spread over processes,
and how often things are written down.
"""

import json
import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tsal_dist import __version__
from tsal_dist.config import RunConfig
from tsal_dist.config.load import build_config
from tsal_dist.errors import ConfigError, StaleRun
from tsal_dist.json_object import flatten, read_object
from tsal_dist.run_dir import RunDir, sync_folder, write_whole

logger = logging.getLogger(__name__)

Mode = Literal["new", "resume", "clean"]

# What may differ when a run is taken up again: none of it changes what is learnt from which data.
MAY_CHANGE = (
    "run",
    "data.workers",
    "data.cache_dir",
    "data.cache_gb",
    "runtime.topology",
    "runtime.role",
    "runtime.teachers",
    "runtime.deadlines",
    "runtime.log",
    "runtime.checkpoint",
    "runtime.weights.keep",
)


@dataclass(frozen=True)
class Run:
    """One run, open: where it lives and how it is told apart from any other."""

    dir: RunDir
    id: str
    config: RunConfig
    resumed: bool


def run_folder(config: RunConfig) -> Path:
    """Where the run lives: run.dir, or runs/<name>."""
    return Path(config.run.dir or Path("runs") / (config.run.name or "unnamed"))


def open_run(config: RunConfig, mode: Mode) -> Run:
    """Make or take up the run directory. Safe for several processes at once: the first one writes run.json."""
    folder = run_folder(config)
    run_dir = RunDir(folder)
    if mode == "clean" and folder.exists():
        _clean(run_dir)
    existed = run_dir.run_json.exists()
    if existed and mode == "new":
        raise ConfigError(
            f"{folder} already holds a run. Go on with it (--resume), replace it (--clean), or choose another "
            f"place (run.dir=...)."
        )
    if not existed:
        _refuse_foreign_folder(folder)
        _write_once(run_dir, config)
    written = _read(run_dir)
    _compare(written["config"], config, run_dir)
    if config.train.steps > _steps(written):
        _extend(run_dir, written, config.train.steps)
    return Run(run_dir, written["id"], config, resumed=existed)


def load_run(folder: str | Path) -> Run:
    """A run as it was written down, for evaluation and reports."""
    run_dir = RunDir(Path(folder))
    written = _read(run_dir)
    return Run(run_dir, written["id"], build_config(written["config"], str(run_dir.run_json)), resumed=True)


def _clean(run_dir: RunDir) -> None:
    if not run_dir.run_json.exists() and any(run_dir.root.iterdir()):
        raise ConfigError(
            f"--clean: {run_dir.root} holds files but no run.json, so it is not a run and will not be deleted. "
            f"Empty it yourself or choose another place (run.dir=...)."
        )
    logger.info("removing the earlier run in %s", run_dir.root)
    shutil.rmtree(run_dir.root)


def _refuse_foreign_folder(folder: Path) -> None:
    # Launchers write logs before the first process starts, and another process may be about to write run.json.
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [
        name
        for name in names
        if name not in ("logs", "ctl", "run.json") and not name.startswith(".run.json.")
    ]
    if foreign and not (folder / "run.json").exists():
        raise ConfigError(
            f"{folder} is not empty and holds no run.json, but {foreign[0]!r}. A run needs a folder of its own: "
            f"choose another place (run.dir=...)."
        )


def _write_once(run_dir: RunDir, config: RunConfig) -> None:
    """Create run.json unless another process was first: link() is atomic where rename would overwrite."""
    run_dir.root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {"id": uuid.uuid4().hex, "version": __version__, "config": config.model_dump(mode="json")}, indent=1
    )
    aside = run_dir.root / f".run.json.{uuid.uuid4().hex}.tmp"
    with open(aside, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, run_dir.run_json)
    except FileExistsError:
        logger.info("another process has written %s first", run_dir.run_json)
    finally:
        aside.unlink()
    sync_folder(run_dir.root)


def _read(run_dir: RunDir) -> dict[str, Any]:
    try:
        written = read_object(run_dir.run_json.read_bytes())
        if not (isinstance(written.get("id"), str) and isinstance(written.get("config"), dict)):
            raise ValueError("it names no id and config")
    except FileNotFoundError:
        raise ConfigError(
            f"{run_dir.root} holds no run.json, so it is not a run. Name the folder that training printed, "
            f"such as runs/demo."
        ) from None
    except ValueError as error:
        raise StaleRun(
            f"{run_dir.run_json} is damaged ({error}). Restore it, or start again with --clean."
        ) from None
    return written


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The settings in which two configs teach differently, with both values."""
    ours, theirs = flatten(one), flatten(other)
    return [
        (key, ours.get(key), theirs.get(key))
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)
    ]


def _compare(written: dict[str, Any], config: RunConfig, run_dir: RunDir) -> None:
    for key, before, now in differences(written, config.model_dump(mode="json")):
        if key == "train.steps" and isinstance(before, int) and now > before:
            continue  # a run may go on for longer
        raise ConfigError(
            f"{run_dir.root} was started with {key} = {before!r}, and now it is {now!r}. "
            f"Set it back, choose another place (run.dir=...), or start again with --clean."
        )


def _steps(written: dict[str, Any]) -> int:
    return int(written["config"].get("train", {}).get("steps", 0))


def _extend(run_dir: RunDir, written: dict[str, Any], steps: int) -> None:
    """Write down that the run has more steps than it was started with."""
    written["config"]["train"]["steps"] = steps
    write_whole(run_dir.run_json, json.dumps(written, indent=1).encode())
