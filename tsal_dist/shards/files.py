"""Whole files at a path or an fsspec URL: read, put, list, remove.

A plain path never passes through fsspec: the local case is the fast one and must be whole or absent even after
a power cut. On an object store one PUT is whole or absent by itself.
"""

import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from tsal_dist.address import is_url, refuse_secrets
from tsal_dist.errors import DataError
from tsal_dist.run_dir import aside_of, take_place, write_whole


def is_local(url: str) -> bool:
    """Whether `url` is a path. Everything here asks first, so no URL with a secret in it gets further."""
    return not is_url(url) or refuse_secrets(url, "The address").startswith("file://")


def local_path(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def join(folder: str, name: str) -> str:
    return f"{refuse_secrets(folder, 'The address').rstrip('/')}/{name}"


def parent(folder: str) -> str:
    """The folder above; only for a URL with a path."""
    if is_local(folder):
        return str(local_path(folder).absolute().parent)
    return folder.rstrip("/").rpartition("/")[0]


def read_bytes(url: str) -> bytes:
    try:
        if is_local(url):
            return local_path(url).read_bytes()
        with fsspec.open(url, "rb") as file:
            data: bytes = file.read()
            return data
    except FileNotFoundError:
        raise DataError(f"{url} does not exist. Check the path, or pack or fetch the shards first.") from None
    except OSError as error:
        raise DataError(f"{url} cannot be read: {error}.") from error


def put_bytes(url: str, data: bytes) -> None:
    """Make `data` appear at `url` at once."""
    if is_local(url):
        write_whole(local_path(url), data)
        return
    with fsspec.open(url, "wb") as file:
        file.write(data)


def put_file(source: Path, url: str, durable: bool = True) -> None:
    """Move the finished local file `source` to `url`; to a path on another device it is copied aside first.

    The content is on disk before the name is. The name itself is only after a `durable` move into the folder.
    """
    if not is_local(url):
        filesystem, path = fsspec.core.url_to_fs(url)
        filesystem.put_file(str(source), path)
        source.unlink()
        return
    target = local_path(url)
    if source.stat().st_dev != target.parent.stat().st_dev:
        aside = aside_of(target)
        shutil.copyfile(source, aside)
        source.unlink()
        source = aside
    take_place(source, target, durable)


def make_folder(folder: str) -> None:
    """Only paths have folders; an object store invents them."""
    if is_local(folder):
        local_path(folder).mkdir(parents=True, exist_ok=True)


def list_names(folder: str) -> list[str]:
    """Sorted names directly below `folder`, [] when there is none."""
    if is_local(folder):
        path = local_path(folder)
        return sorted(os.listdir(path)) if path.is_dir() else []
    filesystem, path = fsspec.core.url_to_fs(folder)
    try:
        found = filesystem.ls(path, detail=False, refresh=True)
    except FileNotFoundError:
        return []
    return sorted({name.rstrip("/").rpartition("/")[2] for name in found} - {""})


def exists(url: str) -> bool:
    if is_local(url):
        return local_path(url).exists()
    filesystem, path = fsspec.core.url_to_fs(url)
    return bool(filesystem.exists(path))


def size_bytes(url: str) -> int | None:
    """None when there is no such file."""
    if is_local(url):
        path = local_path(url)
        return path.stat().st_size if path.is_file() else None
    filesystem, path = fsspec.core.url_to_fs(url)
    try:
        return int(filesystem.info(path)["size"])
    except FileNotFoundError:
        return None


def remove(url: str) -> None:
    if is_local(url):
        local_path(url).unlink(missing_ok=True)
        return
    filesystem, path = fsspec.core.url_to_fs(url)
    if filesystem.exists(path):
        filesystem.rm_file(path)


@contextmanager
def view(url: str) -> Iterator[memoryview]:
    """The bytes of a file without reading those that nobody looks at; from a URL they are fetched whole."""
    if not is_local(url) or not size_bytes(url):
        yield memoryview(read_bytes(url))
        return
    with open(local_path(url), "rb") as file:
        # Unmapped when the last slice of it is gone: an error on its way up may still hold one.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield memoryview(mapped)
