"""Whole shards of an object store, kept in a local folder of bounded size.

A file is fetched aside, checked against the manifest's digest, and renamed: what has its final name is whole and
right. Names are digests, so two runs, two ranks or two splits may share the folder without a lock; at worst
they fetch the same file twice. The file used longest ago goes first; a reader that still has it open keeps it.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

import fsspec

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.run_dir import beside, take_place

CHUNK_BYTES = 8 << 20
ATTEMPTS = 3
# A fetch that is still unfinished after this long belongs to a process that is gone.
STALE_S = 24 * 3600


class ShardCache:
    """Local copies of remote files, at most `limit_bytes` of them together."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def require(self, needed_bytes: int) -> None:
        """Refuse a bound that one window of shards does not fit in: every clip would fetch its shard again."""
        if needed_bytes > self._limit_bytes:
            raise ConfigError(
                f"The shard cache may hold {self._limit_bytes / 1e9:.3f} GB, but reading ahead needs "
                f"{needed_bytes / 1e9:.3f} GB. Raise data.cache_gb, or pack smaller shards."
            )

    def fetch(self, url: str, sha256: str) -> Path:
        """The local copy of the file at `url`, whose digest must be `sha256`."""
        place = self._folder / f"{sha256}{Path(url).suffix}"
        if self._holds(place):
            return place
        for attempt in range(1, ATTEMPTS + 1):
            if self._fetch_once(url, sha256, place):
                break
            if attempt == ATTEMPTS:
                raise DataError(
                    f"{url} was fetched {ATTEMPTS} times and never had the digest {sha256[:12]}… of its manifest. "
                    "It was replaced or damaged in the store: pack or upload it again."
                )
        self._evict(keep=place)
        return place

    def _holds(self, place: Path) -> bool:
        """Whether that file is here; if not, there is a folder to fetch it into now."""
        try:
            with suppress(FileNotFoundError):
                os.utime(place)  # the mark by which the oldest is found
                return True
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The shard cache cannot be kept in {self._folder}: {error.strerror}. Choose another folder (data.cache_dir)."
            ) from error
        return False

    def _fetch_once(self, url: str, sha256: str, place: Path) -> bool:
        digest = hashlib.sha256()
        try:
            with beside(place) as aside:
                with fsspec.open(url, "rb") as source, open(aside, "wb") as target:
                    while chunk := source.read(CHUNK_BYTES):
                        digest.update(chunk)
                        target.write(chunk)
                if digest.hexdigest() != sha256:
                    return False
                take_place(aside, place, durable=False)  # what a power cut takes away is fetched again
                return True
        except FileNotFoundError:
            raise DataError(f"{url} does not exist, but its manifest names it. Upload it again.") from None
        except OSError as error:
            raise DataError(f"{url} cannot be fetched into {self._folder}: {error}.") from error

    def _evict(self, keep: Path) -> None:
        files = []
        for entry in os.scandir(self._folder):
            try:
                files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
            except FileNotFoundError:
                continue  # another process evicts as well
        for used, _, path in files:
            if path.suffix == ".tmp" and time.time() - used > STALE_S:
                path.unlink(missing_ok=True)
        held = sorted(file for file in files if file[2].suffix != ".tmp")
        total = sum(size for _, size, _ in held)
        for _, size, path in held:
            if total <= self._limit_bytes:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size
