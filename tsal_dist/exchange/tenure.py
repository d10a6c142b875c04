"""Whose turn it is: a number per role and rank, higher at every start, and how a process learns that its turn is over.

A process may stop for an hour, in the middle of whatever it does, and wake up when a successor has long gone on without
it. So it asks before everything that others would see, and puts its number on what it leaves behind: what has a lower
number than one's own may be removed, what has a higher one never.

The number is claimed with a file that only one process can make. Then it is written into a register, which exists from
the first claim on and is replaced as a whole: a listing of claims may come out of an NFS client's cache, and so may the
absence of a name, but a file that exists is read as it is.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.exchange.beat import NAMES
from tsal_dist.exchange.store import NameAbsent, NameTaken, Store, ensure
from tsal_dist.json_object import read_sealed, write_sealed

log = logging.getLogger(__name__)

Order = TypeVar("Order", int, tuple[int, int])


@dataclass(frozen=True)
class Tenure:
    """One process's turn as a rank of a role; `incarnation` is its number."""

    store: Store
    role: str
    rank: int
    run_id: str
    incarnation: int
    token: str
    """Drawn, so that in a run made anew under the same name its number is not mistaken for another's."""

    def require(self) -> None:
        """Raise StaleRun where this turn is over: a successor has started, or the run was replaced.

        Other ExchangeErrors say that nobody knows.
        """
        try:
            raw = self.store.get(_register(self.role, self.rank))
        except NameAbsent:
            raise StaleRun(
                f"{self.store.where()} no longer knows {self.role} {self.rank}: the run was removed under it. "
                f"This process must end."
            ) from None
        found = _parse(raw)
        if not found:
            return  # nobody has written since the name was made
        if found["run_id"] != self.run_id:
            raise StaleRun(
                f"{self.store.where()} now holds run {found['run_id']}, this process belongs to run {self.run_id} and "
                f"must end."
            )
        number, same = found["incarnation"], found["token"] == self.token
        if number > self.incarnation or (number == self.incarnation and not same):
            raise StaleRun(
                f"{self.role} {self.rank} was started again as incarnation {number}; this process is incarnation "
                f"{self.incarnation} and must end. Nothing it published is lost."
            )
        if number < self.incarnation:
            self._register_again()  # a predecessor that was slow to write, and learns by this that it is over

    @property
    def over(self) -> bool:
        """Whether somebody else's turn has begun, as far as can be known."""
        try:
            self.require()
        except StaleRun:
            return True
        except ExchangeError as error:
            log.debug("nobody knows whose turn it is: %s", error)
        return False

    def _register_again(self) -> None:
        try:
            self._write()
        except ExchangeError as error:
            log.debug("the turn is not shown: %s", error)

    def _write(self) -> None:
        page = {"incarnation": self.incarnation, "token": self.token, "run_id": self.run_id}
        self.store.replace(_register(self.role, self.rank), write_sealed(page))


def begin_tenure(store: Store, role: str, rank: int, run_id: str) -> Tenure:
    """Begin this rank's next turn; no two processes ever get the same number."""
    ensure(store, _register(role, rank))
    while True:
        known = _known(store, role, rank, run_id)
        number = max([known, *_claims(store, role, rank)]) + 1
        while not _claim(store, role, rank, number):
            number += 1  # a listing may be stale, the claim itself is not
        if _known(store, role, rank, run_id) < number:
            break  # else another process was quicker, and this number is over before it began
    tenure = Tenure(store, role, rank, run_id, number, secrets.token_hex(8))
    tenure._write()
    for old in _claims(store, role, rank):
        if old < number:
            store.delete(_claim_name(role, rank, old))  # the register says as much
    return tenure


def newest_turn(store: Store, role: str, rank: int) -> int:
    """The incarnation whose turn it is, whatever run it belongs to; 0 where none has begun, or nobody knows."""
    try:
        found = _parse(store.get(_register(role, rank)))
    except ExchangeError as error:
        log.debug("nobody knows whose turn it is: %s", error)
        return 0
    return int(found.get("incarnation", 0))


def surviving(orders: Mapping[int, Order]) -> list[int]:
    """The steps that belong to the history that goes on, rising: `orders` says of each who left it there.

    Whoever went on from a step has left behind what comes after it. So a step counts unless something later in order
    is at the same step or before.
    """
    return sorted(
        step
        for step, order in orders.items()
        if not any(other <= step and later > order for other, later in orders.items())
    )


def _known(store: Store, role: str, rank: int, run_id: str) -> int:
    found = _parse(store.get(_register(role, rank)))
    return int(found["incarnation"]) if found.get("run_id") == run_id else 0


def _parse(raw: bytes) -> dict[str, Any]:
    """What the register says; {} where it says nothing that can be believed."""
    kinds = {"incarnation": int, "token": str, "run_id": str}
    try:
        page = read_sealed(raw) if raw else {}
    except ValueError:
        return {}
    return page if all(type(page.get(name)) is kind for name, kind in kinds.items()) else {}


def _claim(store: Store, role: str, rank: int, number: int) -> bool:
    try:
        store.put_new(_claim_name(role, rank, number), b"")
    except NameTaken:
        return False
    return True


def _register(role: str, rank: int) -> str:
    return NAMES.hello(role, rank).with_suffix(".turn").as_posix()


def _claim_name(role: str, rank: int, number: int) -> str:
    return NAMES.hello(role, rank).with_suffix(f".claim-{number:06d}").as_posix()


def _claims(store: Store, role: str, rank: int) -> Iterable[int]:
    folder, _, prefix = _claim_name(role, rank, 0).removesuffix("000000").rpartition("/")
    numbers = [name.removeprefix(prefix) for name in store.children(folder) if name.startswith(prefix)]
    return [int(number) for number in numbers if number.isdecimal() and number.isascii()]
