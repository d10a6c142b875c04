"""A store in a folder of a filesystem that every role sees: local disk, NFS, Lustre.

`put_new` writes under tmp/ and links the finished file to its name (`link_new`): rename() would overwrite a taken name, and
O_EXCL would show a half written file.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tsal_dist.errors import ConfigError, ExchangeError
from tsal_dist.exchange.store import Bytes, NameAbsent, NameCut, NameTaken, check_name
from tsal_dist.run_dir import link_new, plainly, sync_folder

FOLDER_MODE = 0o770  # less the umask


class PosixStore:
    """Files below `root`. `durable` syncs every write, so that it also survives a power cut."""

    appends = True

    def __init__(self, root: Path, *, create: bool = False, durable: bool = False) -> None:
        self.root = Path(root)
        self.durable = durable
        if create:
            with self._plainly("create", ""):
                self.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        elif not self.root.is_dir():
            raise ConfigError(f"{self.root} is not a directory; give the path of an existing one.")

    def where(self, name: str = "") -> str:
        return str(self.root.absolute() / name)

    def put_new(self, name: str, data: Bytes) -> None:
        target = self._path(name)
        with self._plainly("write", name), self._aside(data) as aside:
            try:
                self._in_folder(target, lambda: link_new(aside, target))
            except FileExistsError:
                raise NameTaken(f"{self.where(name)} exists already.") from None
            self._settle(target)

    def replace(self, name: str, data: Bytes) -> None:
        target = self._path(name)
        with self._plainly("write", name), self._aside(data) as aside:
            self._in_folder(target, lambda: os.replace(aside, target))
            self._settle(target)

    def append(self, name: str, data: Bytes, at: int) -> None:
        with self._plainly("write", name):
            handle = os.open(self._path(name), os.O_WRONLY)
            try:
                if os.fstat(handle).st_size < at:
                    raise NameCut(
                        f"{self.where(name)} is shorter than the {at} bytes its writer put there. "
                        f"Somebody truncated it; restart the writer, which will begin a new one."
                    )
                written = os.pwrite(handle, data, at)
                if written != len(data):
                    raise OSError(errno.ENOSPC, "short write")
                if self.durable:
                    os.fsync(handle)
            finally:
                os.close(handle)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(name)
        with self._plainly("read", name):
            try:
                return _read(path, start, length)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                return _read(path, start, length)  # replaced under us on NFS: the name leads to the new file

    def children(self, folder: str, after: str = "") -> list[str]:
        with self._plainly("list", folder):
            try:
                names = os.listdir(self._path(folder))
            except FileNotFoundError:
                return []
        return sorted(name for name in names if name > after and not name.startswith("."))

    def move(self, name: str, target: str) -> None:
        source, goal = self._path(name), self._path(target)
        with self._plainly("move", name):
            goal.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            os.rename(source, goal)

    def delete(self, name: str) -> None:
        with self._plainly("delete", name):
            self._path(name).unlink(missing_ok=True)

    def sweep(self, older_than_s: float) -> int:
        """Delete what crashed writers left under tmp/; age is judged by this filesystem's own clock."""
        with self._plainly("sweep", "tmp"):
            with self._aside(b"") as probe:
                now = probe.stat().st_mtime
                old = [path for path in probe.parent.iterdir() if now - path.stat().st_mtime > older_than_s]
            for path in old:
                path.unlink(missing_ok=True)
        return len(old)

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    @contextmanager
    def _aside(self, data: Bytes) -> Iterator[Path]:
        """A finished temporary file with `data`, gone afterwards whatever happens.

        Not `run_dir.beside`: this one is listed by nobody, is swept where its writer died, and is synced only where the
        store is to be durable.
        """
        aside = self.root / "tmp" / uuid.uuid4().hex
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
        except FileNotFoundError:
            aside.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)  # not its parents: a deleted root is an error
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
        try:
            try:
                _write_all(handle, data)
                if self.durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
            yield aside
        finally:
            aside.unlink(missing_ok=True)

    def _in_folder(self, target: Path, action: Callable[[], None]) -> None:
        """Run `action`, which names `target`, making the folder if this is its first file."""
        try:
            action()
        except FileNotFoundError:
            target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            action()

    def _settle(self, target: Path) -> None:
        if self.durable:
            sync_folder(target.parent)

    @contextmanager
    def _plainly(self, action: str, name: str) -> Iterator[None]:
        """Turn an OSError into one sentence with the remedy, and an absent name into `NameAbsent`."""
        try:
            with plainly(action, self.where(name)):
                yield
        except ExchangeError as failure:
            if not isinstance(failure.__cause__, FileNotFoundError):
                raise
            if not self.root.is_dir():
                raise ExchangeError(
                    f"Cannot {action} {self.where(name)}: the directory {self.root} was deleted. "
                    f"Restore it, or start a new run."
                ) from None
            raise NameAbsent(f"{self.where(name)} does not exist.") from None


def _read(path: Path, start: int, length: int | None) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        wanted = os.fstat(handle).st_size - start if length is None else length
        return os.pread(handle, wanted, start) if wanted > 0 else b""
    finally:
        os.close(handle)


def _write_all(handle: int, data: Bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
