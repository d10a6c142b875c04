"""Files that a user asked for: checked before any work begins, and put in place whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tsal_dist.errors import ConfigError, DataError, DiskFull
from tsal_dist.run_dir import beside, take_place


def check_file(
    flag: str, path: str | Path, suffixes: Iterable[str] = (), inputs: Iterable[str | Path] = ()
) -> Path:
    """The path of a file that can be written, with its folder made. ConfigError names `flag` otherwise.

    `inputs` are files and folders that are read: none of them, nor a file in one of the folders, is overwritten.
    """
    place, allowed = Path(path), tuple(suffixes)
    if allowed and place.suffix.lower() not in allowed:
        raise ConfigError(f"{flag} is {str(path)!r}; its name must end in {' or '.join(allowed)}.")
    if os.path.isdir(place):
        raise ConfigError(f"{flag} is {str(path)!r}, which is a folder. Name a file in it.")
    for source in map(Path, inputs) if os.path.exists(place) else ():
        if _same(place, source) or (source.is_dir() and _same(place.parent, source)):
            raise ConfigError(
                f"{flag} is {str(path)!r}, which is read as well and would be overwritten. Name another file."
            )
    _make_writable(flag, path, place.parent)
    return place


def check_folder(flag: str, path: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """The path of a folder that can be written into, made where it is missing. ConfigError names `flag` otherwise.

    No folder of `inputs`, and none that holds a file of theirs, is written into.
    """
    place = Path(path)
    if os.path.exists(place) and not os.path.isdir(place):
        raise ConfigError(f"{flag} is {str(path)!r}, which is a file. Name a folder.")
    for source in map(Path, inputs):
        if _same(place, source) or (source.is_file() and _same(place, source.parent)):
            raise ConfigError(
                f"{flag} is {str(path)!r}, the folder that is read, whose files would be overwritten. "
                f"Name another folder."
            )
    _make_writable(flag, path, place)
    return place


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write into, with the same ending; it takes its place when all went well."""
    try:
        with beside(path, path.suffix) as aside:
            yield aside
            _put_in_place(aside, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"{path} was not written: {error.strerror}. Free some space and start again."
        ) from None


def _put_in_place(aside: Path, path: Path) -> None:
    try:
        take_place(aside, path)
    except FileNotFoundError:
        raise DataError(f"{path} was not written: there was nothing to write. Check the input.") from None


def _make_writable(flag: str, path: str | Path, folder: Path) -> None:
    """Only an attempt tells: permissions say nothing of full, read-only or remote disks, nor to an administrator."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        os.stat(folder / Path(path).name)
    except FileNotFoundError:
        pass  # the file itself is still to be written
    except OSError as error:
        raise ConfigError(
            f"{flag} is {str(path)!r}, which cannot be written: {error.strerror}. Name another place."
        ) from None


def _same(one: Path, other: Path) -> bool:
    """The same thing on the disk, by whatever names and links."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
