"""The logs of other runs, read as one queue of one's own and never written to.

What producers wrote is read where it lies; cursors, QUEUE.json and the notes of a quarantine go to the reader's own
store. Producers of the second run are counted from rank 10 000 on, those of the third from 20 000, and so on, since
every run has a first teacher. Each of them is presented as one that writes for the reader's run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import Bytes, Store
from tsal_dist.pseudo.collect import WATERMARK, load_watermark
from tsal_dist.pseudo.topic import QUEUE, list_producers, parse_json, producer_name, split_producer

RANKS = 10_000


@dataclass(frozen=True)
class BorrowedStore:
    """`own` is the reader's, `lent` are the stores of the other runs' topics."""

    own: Store
    lent: Sequence[Store]

    @property
    def appends(self) -> bool:
        return all(store.appends for store in self.lent)

    def where(self, name: str = "") -> str:
        store, name = self._find(name)
        return store.where(name)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if name == WATERMARK:
            return json.dumps(self._watermark()).encode()
        store, theirs = self._find(name)
        if store is not self.own and name.endswith("/META.json"):
            meta = parse_json(store, theirs)
            # A stranger among theirs stays one.
            if (meta.get("queue"), meta.get("run_id")) == _identity(store):
                meta["queue"], meta["run_id"] = _identity(self.own)
            return json.dumps(meta).encode()
        return store.get(theirs, start, length)

    def children(self, folder: str, after: str = "") -> list[str]:
        if folder == "p":
            names = [
                _rename(name, place * RANKS)
                for place, store in enumerate(self.lent)
                for name in list_producers(store)
            ]
            return sorted(name for name in names if name > after)
        store, folder = self._find(folder)
        return store.children(folder, after)

    def put_new(self, name: str, data: Bytes) -> None:
        self._mine(name).put_new(name, data)

    def replace(self, name: str, data: Bytes) -> None:
        self._mine(name).replace(name, data)

    def append(self, name: str, data: Bytes, at: int) -> None:
        self._mine(name).append(name, data, at)

    def move(self, name: str, target: str) -> None:
        self._mine(name).move(name, target)

    def delete(self, name: str) -> None:
        self._mine(name).delete(name)

    def _find(self, name: str) -> tuple[Store, str]:
        """Whose name it is, and what it is called there."""
        if not name.startswith("p/"):
            return self.own, name
        _, producer, *rest = name.split("/")
        place = lender_of(producer)
        return self.lent[place], "/".join(["p", _rename(producer, -place * RANKS), *rest])

    def _mine(self, name: str) -> Store:
        store, theirs = self._find(name)
        if store is not self.own:
            raise ExchangeError(f"{store.where(theirs)} belongs to another run and is only read here.")
        return store

    def _watermark(self) -> dict[str, int]:
        return {
            _rename(name, place * RANKS): first
            for place, store in enumerate(self.lent)
            for name, first in load_watermark(store).items()
        }


def lender_of(producer: str) -> int:
    """Which of the lent stores a producer belongs to; 0 also where nothing is borrowed."""
    return split_producer(producer)[1] // RANKS


def _identity(store: Store) -> tuple[Any, Any]:
    """Which queue lies there, and of which run."""
    queue = parse_json(store, QUEUE)
    return queue.get("uuid"), queue.get("run_id")


def _rename(producer: str, shift: int) -> str:
    role, rank, incarnation = split_producer(producer)
    return producer_name(role, rank + shift, incarnation)
