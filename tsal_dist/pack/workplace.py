"""One packer per folder, or one per share of it: the lock, the scratch folder, and the plan that the folder is bound to.

The lock is the kernel's (flock on a folder), so it ends with the last process that holds it, however that died.
Workers hold it too: a packer that starts while orphans of a killed one still run waits for them. A share is locked by
its own scratch folder, and holds the whole one against a packer that would commit it.
"""

import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tsal_dist.dist.share import Share
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.json_object import read_object
from tsal_dist.pack.packing_plan import Plan
from tsal_dist.shards import files

log = logging.getLogger(__name__)

SCRATCH = ".packing"
_PATIENCE_S = 10.0
_POLL_S = 0.05


def scratch_folder(folder: str, plan: Plan, share: Share | None = None) -> Path:
    """Beside the shards where that is a path, so that a move is a rename; else in the system's own place."""
    suffix = f"-{share.number}-of-{share.of}" if share else ""
    if files.is_local(folder):
        return files.local_path(folder) / f"{SCRATCH}{suffix}"
    return Path(tempfile.gettempdir()) / f"tsal-pack-{plan.fingerprint[:16]}{suffix}"


@contextmanager
def workplace(folder: str, plan: Plan, share: Share | None = None) -> Iterator[Path]:
    """An empty scratch folder that no other packer uses; removed at the end. What a kill left is removed first."""
    scratch = scratch_folder(folder, plan, share)
    files.make_folder(folder)
    locked = _locked_folder(scratch, folder)
    locked.mkdir(parents=True, exist_ok=True)
    with ExitStack() as leaving:
        if share and files.is_local(folder):
            _wait_for(_open(files.local_path(folder), leaving), fcntl.LOCK_SH, folder)
        handle = _open(locked, leaving)
        _wait_for(handle, fcntl.LOCK_EX, folder)
        _flock(handle, fcntl.LOCK_SH)
        _empty(scratch)
        leaving.callback(shutil.rmtree, scratch)
        yield scratch


def share_lock(scratch: Path, folder: str) -> int:
    """A worker's part in the lock; it lasts as long as the process."""
    locked = _locked_folder(scratch, folder)
    handle = os.open(locked, os.O_RDONLY)
    _flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle


def _locked_folder(scratch: Path, folder: str) -> Path:
    """The shards' own folder for a packer of the whole plan, where that is a path."""
    return scratch.parent if files.is_local(folder) and scratch.name == SCRATCH else scratch


def _open(folder: Path, leaving: ExitStack) -> int:
    handle = os.open(folder, os.O_RDONLY)
    leaving.callback(os.close, handle)
    return handle


def _wait_for(handle: int, operation: int, folder: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _flock(handle, operation | fcntl.LOCK_NB):
        if time.monotonic() > deadline:
            raise ConfigError(f"Another packer is at work in {folder}. Wait for it, or stop it.")
        time.sleep(_POLL_S)


def _flock(handle: int, operation: int) -> bool:
    """False: somebody else holds the lock. A filesystem without locks cannot protect, which is said once."""
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("This filesystem has no folder locks (%s); run one packer per folder.", error)
    return True


def _empty(scratch: Path) -> None:
    scratch.mkdir(exist_ok=True)
    for left in scratch.iterdir():
        left.unlink()


def plan_name(first_shard: int) -> str:
    """The first plan of a folder has the plain name; a retry is named by the shard that it begins with."""
    return f"plan-{first_shard:05d}.json" if first_shard else "plan.json"


def read_plan(folder: str, first_shard: int = 0) -> dict[str, Any] | None:
    """The summary of the plan that the folder is bound to."""
    url = files.join(folder, plan_name(first_shard))
    if not files.exists(url):
        return None
    try:
        summary: dict[str, Any] = read_object(files.read_bytes(url))["summary"]
        return summary
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{url} is damaged ({error}); pack into an empty folder.") from error


def bind_plan(folder: str, plan: Plan, scratch: Path, first_shard: int = 0) -> None:
    """Write the plan into a new folder; refuse a folder that another plan was begun in."""
    name = plan_name(first_shard)
    begun_with = read_plan(folder, first_shard)
    if begun_with is not None:
        if begun_with != plan.summary:
            raise ConfigError(_difference(folder, begun_with, plan.summary))
        return
    foreign = [name for name in files.list_names(folder) if name.endswith((".tar", ".idx"))]
    # Machines begin a folder together: one may have packed a shard since the plan was looked for.
    if foreign and not first_shard and read_plan(folder) is None:
        raise ConfigError(
            f"{folder} holds {foreign[0]} and no {name}: it was not made by this packer. Use an empty folder."
        )
    page = {"fingerprint": plan.fingerprint, "summary": plan.summary}
    aside = scratch / name
    aside.write_text(json.dumps(page, indent=1, sort_keys=True) + "\n")
    files.put_file(aside, files.join(folder, name))


def _difference(folder: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    changed = [key for key in sorted({*here, *there}) if there.get(key) != here.get(key)]
    what = "; ".join(f"{key} was {there.get(key)!r} and is {here.get(key)!r}" for key in changed)
    return (
        f"{folder} was begun with another plan: {what}. Give the same inputs and options to finish it, or pack "
        "into another folder."
    )
