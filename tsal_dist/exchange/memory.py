"""A store in this process's memory: what lies over another one (`copy_on_write`), and for tests."""

import threading

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import Bytes, NameAbsent, NameCut, NameTaken, check_name


class MemoryStore:
    """A dictionary behind a lock. `appends=False` makes it behave like an object store."""

    def __init__(self, appends: bool = True) -> None:
        self.appends = appends
        self.files: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def where(self, name: str = "") -> str:
        return f"memory:/{name}"

    def put_new(self, name: str, data: Bytes) -> None:
        with self._lock:
            if check_name(name) in self.files:
                raise NameTaken(f"{self.where(name)} exists already.")
            self.files[name] = bytes(data)

    def replace(self, name: str, data: Bytes) -> None:
        with self._lock:
            self.files[check_name(name)] = bytes(data)

    def append(self, name: str, data: Bytes, at: int) -> None:
        if not self.appends:
            raise ExchangeError(f"{self.where(name)} cannot grow: this store has no append.")
        with self._lock:
            old = self._held(name)
            if at > len(old):
                raise NameCut(f"{self.where(name)} has {len(old)} bytes, the writer expects {at}.")
            self.files[name] = old[:at] + bytes(data)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with self._lock:
            return self._held(name)[start : None if length is None else start + length]

    def children(self, folder: str, after: str = "") -> list[str]:
        prefix = check_name(folder) + "/"
        with self._lock:
            below = {name[len(prefix) :].split("/")[0] for name in self.files if name.startswith(prefix)}
        return sorted(name for name in below if name > after)

    def move(self, name: str, target: str) -> None:
        with self._lock:
            self.files[check_name(target)] = self._held(name)
            del self.files[name]

    def delete(self, name: str) -> None:
        with self._lock:
            self.files.pop(check_name(name), None)

    def _held(self, name: str) -> bytes:
        try:
            return self.files[check_name(name)]
        except KeyError:
            raise NameAbsent(f"{self.where(name)} does not exist.") from None
