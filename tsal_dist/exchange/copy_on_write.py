"""A store that is only looked at: what its reader writes, moves and deletes stays in this process's memory, over it."""

from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.store import Bytes, NameAbsent, NameTaken, Store


class CopyOnWriteStore:
    """`beneath` as it would be if its reader wrote to it. One process's: nobody else sees any of it."""

    def __init__(self, beneath: Store) -> None:
        self._beneath = beneath
        self._over = MemoryStore()
        self._gone: set[str] = set()

    @property
    def appends(self) -> bool:
        return self._beneath.appends

    def where(self, name: str = "") -> str:
        return self._beneath.where(name)

    def put_new(self, name: str, data: Bytes) -> None:
        if self._has(name):
            raise NameTaken(f"{self.where(name)} exists already.")
        self.replace(name, data)

    def replace(self, name: str, data: Bytes) -> None:
        self._over.replace(name, data)
        self._gone.discard(name)

    def append(self, name: str, data: Bytes, at: int) -> None:
        self._over.replace(name, self.get(name))
        self._over.append(name, data, at)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if name in self._over.files:
            return self._over.get(name, start, length)
        if name in self._gone:
            raise NameAbsent(f"{self.where(name)} does not exist.")
        return self._beneath.get(name, start, length)

    def children(self, folder: str, after: str = "") -> list[str]:
        mine = self._over.children(folder, after)
        theirs = [
            name
            for name in self._beneath.children(folder, after)
            if f"{folder}/{name}" not in self._gone or f"{folder}/{name}" in self._over.files
        ]
        return sorted({*mine, *theirs})

    def move(self, name: str, target: str) -> None:
        self.replace(target, self.get(name))
        self.delete(name)

    def delete(self, name: str) -> None:
        self._over.delete(name)
        self._gone.add(name)

    def _has(self, name: str) -> bool:
        try:
            self.get(name)
        except NameAbsent:
            return False
        return True
