"""Shards by the name that a user gave them: an index is made where there is none, and a mistake is told by that name."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet, open_cached
from tsal_dist.errors import ConfigError
from tsal_dist.pack.foreign import index_folder
from tsal_dist.shards.files import is_local, local_path
from tsal_dist.shards.manifest import MANIFEST

log = logging.getLogger(__name__)


def open_named(key: str, urls: Sequence[str], config: RunConfig) -> ShardSet:
    """Open shards that the user named under `key`: a folder that is not there is theirs to correct."""
    for url in urls:
        require_shards(key, url)
    return open_cached(urls, config.data)


def require_shards(key: str, url: str) -> None:
    """Raise ConfigError where a folder holds none. WebDataset tars that were made elsewhere are indexed; processes that start
    together may all do it: they write the same bytes."""
    if not is_local(url):
        return
    folder = local_path(url)
    try:
        there, packed = folder.is_dir(), (folder / MANIFEST).exists()
    except OSError as error:
        raise ConfigError(
            f"{key} names {url!r}, which cannot be looked into: {error.strerror}. Have it made readable, or name others."
        ) from error
    if not there:
        raise ConfigError(
            f"{key} names {url!r}, which is no folder. Pack shards there (`tsal pack`), or name others."
        )
    if not packed and not any(folder.glob("*.tar")):
        raise ConfigError(f"{key} names {url!r}, which holds no shards. {_remedy(folder)}")
    if not packed:
        _index(key, folder)


def _remedy(folder: Path) -> str:
    """What to name in place of a folder that holds no shards: `tsal pack --out` makes one for each split inside."""
    inside = sorted(str(path.parent) for path in folder.glob(f"*/{MANIFEST}"))
    if inside:
        return f"There are some in {' and '.join(inside)}: name the one that you mean."
    return "Pack shards there (`tsal pack`), or name others."


def _index(key: str, folder: Path) -> None:
    try:
        manifest = index_folder(str(folder))
    except OSError as error:
        raise ConfigError(
            f"{key} names {str(folder)!r}, which holds tars without an index, and none can be written there ({error}). "
            f"Copy the folder to where it can, or run `tsal shards index` on it."
        ) from error
    log.info(
        "%s: indexed the tars of others in %s: %d frames, %d of them labelled",
        key, folder, manifest.frames, manifest.labelled,
    )  # fmt: skip
