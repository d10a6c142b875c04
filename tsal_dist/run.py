"""A run's directory, opened: made for a new run, refused for a foreign one, taken up again when asked.

`run.json` is written once, by whoever comes first, and says what the run is. A later process must bring the
same config, save for what may change between attempts: where the run lives, how it is spread over processes,
and how often things are written down.
"""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tsal_dist import __version__
from tsal_dist.config import RunConfig
from tsal_dist.config.load import build_config
from tsal_dist.errors import ConfigError
from tsal_dist.json_object import flatten, read_object
from tsal_dist.run_dir import DONE, RunDir, claim_of, list_names, plainly, write_new, write_whole

logger = logging.getLogger(__name__)

Mode = Literal["new", "resume", "clean"]

# What may differ when a run is taken up again: none of it changes what is learnt from which data.
MAY_CHANGE = (
    "run",
    "data.beyond_points",
    "data.workers",
    "data.cache_dir",
    "data.cache_gb",
    "data.spot_check_mb_s",
    "runtime.topology",
    "runtime.role",
    "runtime.crew",
    "runtime.teachers",
    "runtime.deadlines",
    "runtime.log",
    "runtime.checkpoint",
    "runtime.weights.keep",
    "runtime.queue.collect",
    "runtime.queue.keep_gb",
)
CLAIMED_S = 5.0
"""How long a name may be claimed before it is given."""
WATCHED_S, LOOK_S = 5.0, 0.2
"""How long at least, and how often, heartbeats are looked at before a run is removed."""


@dataclass(frozen=True)
class Origin:
    """Where a run began that did not begin from nothing: a checkpoint of another run's student."""

    run: str
    """The other run's folder."""
    id: str
    """The other run's: another one may lie in that folder by now."""
    step: int

    def __str__(self) -> str:
        return f"step {self.step} of {self.run}"


@dataclass(frozen=True)
class Run:
    """One run, open: where it lives and how it is told apart from any other."""

    dir: RunDir
    id: str
    config: RunConfig
    resumed: bool
    origin: Origin | None = None


def run_folder(config: RunConfig) -> Path:
    """Where the run lives: run.dir, or runs/<name>."""
    return Path(config.run.dir or Path("runs") / (config.run.name or "unnamed"))


def from_nothing() -> Origin | None:
    """Most runs begin so."""
    return None


def open_run(
    config: RunConfig,
    mode: Mode,
    find_origin: Callable[[], Origin | None] = from_nothing,
    leave_if_asked: Callable[[], None] = lambda: None,
) -> Run:
    """Make or take up the run directory. Safe for several processes at once: the first one writes run.json.

    `find_origin` is asked before anything is made or deleted, in a place that may become a run, unless there is one to go
    on with. `leave_if_asked` is called while a run that is to be removed is watched, and raises where nothing shall be
    removed.
    """
    folder = run_folder(config)
    run_dir = RunDir(folder)
    _refuse_no_folder(folder)
    existed = _is_there(run_dir)
    origin = None if existed and mode == "resume" else find_origin()
    if mode == "clean" and existed:
        _clean(run_dir, config, leave_if_asked)
    existed = _is_there(run_dir)  # once more: another process may have come meanwhile
    if existed and mode == "new":
        raise ConfigError(
            f"{folder} already holds a run. Go on with it (`train --resume {folder}`), replace it ({_anew(config)}), or choose "
            f"another place (run.dir=...)."
        )
    if not existed:
        _write_once(run_dir, config, origin)
    written = _read(run_dir)
    _compare(build_config(written["config"], str(run_dir.run_json)), config, run_dir)
    if config.train.steps > _steps(written):
        _extend(run_dir, written, config.train.steps)
    return Run(run_dir, written["id"], config, existed, _origin(written))


def load_run(folder: str | Path) -> Run:
    """A run as it was written down, for evaluation and reports."""
    run_dir = RunDir(Path(folder))
    written = _read(run_dir)
    config = build_config(written["config"], str(run_dir.run_json))
    return Run(run_dir, written["id"], config, True, _origin(written))


def pin_shards(run_dir: RunDir, fingerprints: Mapping[str, str]) -> None:
    """Say once and for all which shards the run is about; ConfigError where they were others before.

    A label names its frame by its place in the shards. Under the same path another host may hold another version of
    them, or they were packed anew between a stop and a resume: every point would lie on the pixels of another frame.
    """
    text = json.dumps(dict(fingerprints), indent=1).encode()
    if _write_first(run_dir.data_json, text):
        return
    with plainly("read", run_dir.data_json):
        said = run_dir.data_json.read_bytes()
    try:
        written = read_object(said)
    except ValueError as error:
        raise ConfigError(
            f"{run_dir.data_json} is damaged ({error}), so nobody knows which shards this run is about. Restore it, or "
            f"start again with --clean."
        ) from None
    for name in sorted({*written, *fingerprints}):
        before, now = written.get(name), fingerprints.get(name)
        if before != now:
            raise ConfigError(
                f"data.{name} holds other shards than when {run_dir.root} began: their fingerprint was {_brief(before)} "
                f"and here it is {_brief(now)}. Put the same shards there on every host, or start a new run."
            )


def pinned_shards(run_dir: RunDir) -> dict[str, Any]:
    """What `pin_shards` wrote; {} where nothing can be read."""
    try:
        return read_object(run_dir.data_json.read_bytes())
    except (OSError, ValueError):
        return {}


def _brief(fingerprint: Any) -> str:
    return str(fingerprint)[:12] if fingerprint else "none"


def _anew(config: RunConfig) -> str:
    """Which flag begins a run anew in its place. One of two processes that start a role each would delete the other's."""
    return "--clean" + " of launch.local or launch.submit slurm" * (config.runtime.topology == "detached")


def _clean(run_dir: RunDir, config: RunConfig, leave_if_asked: Callable[[], None]) -> None:
    if run_dir.root.is_symlink():
        raise ConfigError(
            f"--clean: {run_dir.root} is a link, and what it leads to will not be deleted. Name the folder itself."
        )
    refuse_living("--clean", run_dir, config, "choose another place (run.dir=...)", leave_if_asked)
    # Last: a person may have gone on labelling meanwhile.
    refuse_hand_labels(run_dir, run_dir.root.parent, "choose another place (run.dir=...)")
    logger.info("removing the earlier run in %s", run_dir.root)
    with plainly("delete", run_dir.root):
        # run.json first: whoever is alive after all and looks for its run must not find it half removed.
        run_dir.run_json.unlink(missing_ok=True)
        shutil.rmtree(run_dir.root)


def refuse_hand_labels(run_dir: RunDir, away: Path, instead: str) -> None:
    """A run can be computed again, and hours of a person's work cannot: they may go to the folder `away`."""
    tables = sorted(name for name in list_names(run_dir.label) if name.lower().endswith(".csv"))
    if tables:
        raise ConfigError(
            f"--clean: {run_dir.label / tables[0]} holds labels that were made by hand, and they would be deleted with the "
            f"run. Move the table first, such as to {away / 'labels.csv'}, or {instead}."
        )


def refuse_living(
    flag: str,
    run_dir: RunDir,
    config: RunConfig,
    instead: str,
    leave_if_asked: Callable[[], None],
    names: Collection[str] = (),
) -> None:
    """ConfigError where a process of this run is at work; `names` as for `living`."""
    at_work = living(run_dir, config.runtime.deadlines.beat_s, names, leave_if_asked)
    if at_work:
        raise ConfigError(
            f"{flag}: {at_work} is at work in {run_dir.root}, its heartbeat goes on. Stop that run first, or {instead}."
        )


def living(
    run_dir: RunDir,
    beat_s: float,
    names: Collection[str] = (),
    leave_if_asked: Callable[[], None] = lambda: None,
) -> str:
    """A process of this run whose heartbeat changes while it is looked at, for seconds; "" where none does.

    `names` are those that are looked at, such as student-0; all of them unless told.
    """
    first = _beats(run_dir, names)
    deadline = time.monotonic() + max(WATCHED_S, 3 * beat_s)
    while first and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        leave_if_asked()
        for name, beat in _beats(run_dir, names).items():
            if beat != first.get(name):
                return name
    return ""


def _beats(run_dir: RunDir, names: Collection[str]) -> dict[str, bytes]:
    """The heartbeats of processes that have not said goodbye."""
    found = {}
    for path in run_dir.beats.glob("*.json"):
        if names and path.stem not in names:
            continue
        try:
            beat = path.read_bytes()
            if read_object(beat or b"{}").get("phase") == DONE:
                continue
        except (OSError, ValueError):
            continue  # replaced or damaged: what lives writes another one
        found[path.stem] = beat
    return found


def _refuse_no_folder(folder: Path) -> None:
    """Raise where the place of a run is something else than a folder."""
    with plainly("read", folder):
        if folder.is_symlink() and not folder.exists():
            raise ConfigError(
                f"run.dir={folder} is a link to {folder.readlink()}, which does not exist. Make that folder, remove the "
                f"link, or choose another place."
            )
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"run.dir={folder} is a file. A run needs a folder: choose another place.")


def _is_there(run_dir: RunDir) -> bool:
    """Whether there is a run; ConfigError where something else is in its place."""
    with plainly("read", run_dir.run_json):
        existed = run_dir.run_json.exists()
    if not existed:
        _refuse_foreign_folder(run_dir.root)
    return existed


def _refuse_foreign_folder(folder: Path) -> None:
    # Launchers write logs before the first process starts, a start that was refused leaves a note in ctl, and another
    # process may be about to write run.json.
    names = sorted(list_names(folder))
    foreign = [
        name
        for name in names
        if name not in ("logs", "ctl", "run.json") and not name.startswith((".run.json.", ".claim-run.json"))
    ]
    if foreign and not (folder / "run.json").exists():
        raise ConfigError(
            f"{folder} is not empty and holds no run.json, but {foreign[0]!r}. A run needs a folder of its own: "
            f"choose another place (run.dir=...)."
        )


def _write_once(run_dir: RunDir, config: RunConfig, origin: Origin | None) -> None:
    """Create run.json unless another process was first."""
    page: dict[str, Any] = {"id": uuid.uuid4().hex, "version": __version__}
    if origin:
        page["origin"] = asdict(origin)
    page["config"] = config.model_dump(mode="json")
    if not _write_first(run_dir.run_json, json.dumps(page, indent=1).encode()):
        logger.info("another process has written %s first", run_dir.run_json)


def _write_first(path: Path, data: bytes) -> bool:
    """As `write_new`; where somebody else was first, `path` is there. On filesystems without hard links a name is claimed
    before it is given, and who has claimed it may have died in between."""
    if write_new(path, data):
        return True
    deadline = time.monotonic() + CLAIMED_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{claim_of(path)} says that a process is about to make {path}, and in {CLAIMED_S:g} s it has not: it has "
                f"died. Remove that file, or choose another place (run.dir=...)."
            )
        time.sleep(LOOK_S)
    return False


def _read(run_dir: RunDir) -> dict[str, Any]:
    with plainly("read", run_dir.run_json):
        if run_dir.root.is_file():
            raise ConfigError(
                f"{run_dir.root} is a file, and a run is a folder. Name the one that training printed, such as runs/demo."
            )
        try:
            said = run_dir.run_json.read_bytes()
        except FileNotFoundError:
            raise ConfigError(
                f"{run_dir.root} holds no run.json, so it is not a run. Name the folder that training printed, "
                f"such as runs/demo."
            ) from None
    try:
        written = read_object(said)
        if not (isinstance(written.get("id"), str) and isinstance(written.get("config"), dict)):
            raise ValueError("it names no id and config")
        _origin(written)
    except ValueError as error:
        raise ConfigError(
            f"{run_dir.run_json} is damaged ({error}). Restore it, or start again with --clean."
        ) from None
    return written


def _origin(written: Mapping[str, Any]) -> Origin | None:
    """ValueError where what stands there is none."""
    said = written.get("origin")
    if said is None:
        return None
    kinds = {"run": str, "id": str, "step": int}
    if not isinstance(said, dict) or {name: type(value) for name, value in said.items()} != kinds:
        raise ValueError("its origin is no step of a run")
    return Origin(**said)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The settings in which two configs teach differently, with both values.

    A launcher writes down of a method what was said, a process all that the method has: what only one of them says is no
    difference.
    """
    ours, theirs = flatten(one), flatten(other)
    unsaid = {key for key in ours.keys() ^ theirs.keys() if key.startswith("method.")}
    return [
        (key, ours.get(key), theirs.get(key))
        for key in sorted({*ours, *theirs} - unsaid)
        if ours.get(key) != theirs.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)
    ]


def _compare(written: RunConfig, config: RunConfig, run_dir: RunDir) -> None:
    """A setting that run.json does not know, because it is younger, was at its default."""
    for key, before, now in differences(written.model_dump(mode="json"), config.model_dump(mode="json")):
        if key == "train.steps" and isinstance(before, int) and now > before:
            continue  # a run may go on for longer
        raise ConfigError(
            f"{run_dir.root} was started with {key} = {before!r}, and now it is {now!r}. "
            f"Set it back, choose another place (run.dir=...), or start again with {_anew(config)}."
        )


def _steps(written: dict[str, Any]) -> int:
    return int(written["config"].get("train", {}).get("steps", 0))


def _extend(run_dir: RunDir, written: dict[str, Any], steps: int) -> None:
    """Write down that the run has more steps than it was started with."""
    written["config"]["train"]["steps"] = steps
    write_whole(run_dir.run_json, json.dumps(written, indent=1).encode())
