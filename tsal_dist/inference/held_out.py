"""The shards that a run names, looked for from any folder.

run.json has relative paths as they were typed, and the folder that they begin at, where the run was started, is not written
down. But where the run lies as run.json says, seen from there, its place tells. What a user types now begins at the folder that
it is typed in, and does not pass through here.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet, open_cached
from tsal_dist.errors import ConfigError
from tsal_dist.inference.unknown import NO_FRAMES, NOTHING_KNOWN
from tsal_dist.run import run_folder
from tsal_dist.shards.files import is_local, local_path
from tsal_dist.shards.manifest import MANIFEST

Key = Literal["labelled", "unlabelled", "validation"]
"""Of the section `data`."""


def open_of_run(folder: Path, config: RunConfig, key: Key, doing: str = "") -> ShardSet:
    """The shards that the run in `folder` names under `key`. ConfigError where one is not there, which says what was being
    `doing`, if that is not plain."""
    found = find_named(folder, config, key)
    if missing := find_missing(found):
        raise ConfigError(say_missing(f"{doing}data.{key}", missing))
    return open_cached(found, config.data)


def open_if_there(folder: Path, config: RunConfig, key: Key) -> ShardSet | None:
    """As `open_of_run`, and None where the run names none or one is gone: a page may be made long after. Object stores are
    not asked: they may be out of reach by then."""
    found = find_named(folder, config, key)
    there = [is_local(url) and (local_path(url) / MANIFEST).exists() for url in found]
    return open_cached(found, config.data) if there and all(there) else None


def find_named(folder: Path, config: RunConfig, key: Key) -> list[str]:
    """Where the shards are that the run in `folder` names under `key`."""
    named: Sequence[str] = getattr(config.data, key)
    return find_shards(folder, config, named)


def find_shards(folder: Path, config: RunConfig, urls: Sequence[str]) -> list[str]:
    """Where the shards are that the run in `folder` names: seen from where it was started, if they are there; else as they are
    named, from here."""
    start = started_in(folder, config)
    if start is None or start == Path.cwd():
        return list(urls)
    return [_from(start, url) if is_local(url) else url for url in urls]


def _from(start: Path, url: str) -> str:
    place = start / local_path(url)
    return str(place) if place.is_dir() else url


def started_in(folder: Path, config: RunConfig) -> Path | None:
    """The folder that a run's relative paths begin at; None where its place does not tell."""
    here, told = os.path.abspath(folder), os.path.normpath(run_folder(config))
    if os.path.isabs(told) or not here.endswith(os.sep + told):
        return None
    return Path(here.removesuffix(told))


def find_missing(urls: Sequence[str]) -> str:
    """The first of the shards that is no folder; "" where all are there."""
    return next((url for url in urls if is_local(url) and not local_path(url).is_dir()), "")


def say_missing(key: str, url: str, so: str = "") -> str:
    """What is said of shards that a run names and that are not there, with what follows from it."""
    place = "" if local_path(url).is_absolute() else f" in {Path.cwd()}"
    return (
        f"{key} names {url!r}, and there is no such folder{place}{so and ', '}{so}. Start the command in the folder that the "
        f"run was started in, or put the shards where they were."
    )


def why_unmeasured(validation: Sequence[str]) -> str:
    """Why nothing is known of a run's detector. `validation`: its held-out shards, as they were found."""
    if missing := find_missing(validation):
        return say_missing("data.validation", missing, NOTHING_KNOWN)
    return NO_FRAMES
