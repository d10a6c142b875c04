"""Who may speak: the handshake between roles, and the flag that ends a run.

Handshake  Each rank writes a hello with a fresh nonce and repeats the nonces it has seen. Two ranks have met when
           each finds its own nonce in the other's hello; hellos left by an earlier attempt cannot satisfy it,
           and two roles that look at different folders find out at the start instead of after an hour.
Stop       Empty until the student's rank 0 writes why the run ends.

Every polled name is made to exist before it is waited for (see the store's contract on absent names).
"""

import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import DiskFull, ExchangeError, PeerLost, StaleRun
from tsal_dist.exchange.beat import NAMES, Peer
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.store import Store, ensure
from tsal_dist.json_object import read_sealed, write_sealed

log = logging.getLogger(__name__)


class Handshake:
    """One rank's side of the handshake. `answer` must be called now and then for as long as peers may restart."""

    def __init__(
        self,
        store: Store,
        role: str,
        rank: int,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        *,
        shards: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._me = (role, rank)
        self._run_id = run_id
        self._shards = dict(shards or {})
        """Fingerprint of each set of shards that this process reads."""
        self._damaged: set[Peer] = set()
        """Those whose hellos cannot be read: said once each time, not at every look."""
        self._nonce = secrets.token_hex(8)
        self._seen: dict[str, str] = {}
        self._expected: set[Peer] = set()
        """Those whose hellos were made to exist."""
        self._clock = clock
        self._sleep = sleep
        self._write()

    def answer(self, peers: Iterable[Peer]) -> dict[Peer, str]:
        """Repeat the nonces of `peers`; returns those not met yet and where they say they look."""
        missing: dict[Peer, str] = {}
        before = dict(self._seen)
        for peer in peers:
            if peer not in self._expected:
                ensure(self._store, NAMES.hello(*peer).as_posix())
                self._expected.add(peer)
            hello = self._read(peer)
            if hello is None:
                missing[peer] = ""
                continue
            if hello["run_id"] != self._run_id:
                raise StaleRun(
                    f"{peer[0]} {peer[1]} belongs to run {hello['run_id']}, this process to run {self._run_id}. "
                    f"Give each run its own directory."
                )
            self._require_same_shards(peer, hello["shards"])
            self._seen[_key(peer)] = hello["nonce"]
            if hello["seen"].get(_key(self._me)) != self._nonce:
                missing[peer] = f"{hello['host']}:{hello['path']}"
        if self._seen != before:
            try:
                self._write()
            except ExchangeError:
                self._seen = before  # said another time
                raise
        return missing

    def meet(
        self,
        peers: Iterable[Peer],
        timeout_s: float,
        poll_s: float,
        give_up: Callable[[], bool] = lambda: False,
        in_place: Callable[[], Iterable[Peer]] = tuple,
    ) -> bool:
        """True when every peer has answered, or one of those `in_place` of them; False when told to give up; PeerLost
        with both resolved paths."""
        peers = list(peers)
        deadline = self._clock() + timeout_s
        while missing := self._answer_or_wait(peers):
            others = [peer for peer in in_place() if peer not in peers]
            if len(self._answer_or_wait(others)) < len(others):
                return True
            if self._clock() > deadline:
                (role, rank), theirs = next(iter(missing.items()))
                here = f"{socket.gethostname()}:{self._store.where()}"
                why = (
                    f"it was there once, as {theirs}, and this process is at {here}. It has ended, or takes longer to start: "
                    f"look at its log, or raise runtime.deadlines.meet_s."
                    if theirs
                    else f"this process looks at {here}, and it has written nothing there. Both must be the same directory of a "
                    f"shared filesystem."
                )
                raise PeerLost(f"{role} {rank} did not answer within {timeout_s:g} s: {why}")
            if give_up():
                return False
            self._sleep(poll_s)
        return True

    def _answer_or_wait(self, peers: list[Peer]) -> dict[Peer, str]:
        """`answer`, where a full disk counts as nobody having answered yet."""
        try:
            return self.answer(peers)
        except DiskFull as full:
            log.debug("nothing can be said: %s", full)
            return dict.fromkeys(peers, "")

    def _write(self) -> None:
        hello = {
            "nonce": self._nonce,
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "path": self._store.where(),
            "shards": self._shards,
            "seen": self._seen,
        }
        self._store.replace(NAMES.hello(*self._me).as_posix(), write_sealed(hello))

    def _require_same_shards(self, peer: Peer, theirs: Mapping[str, str]) -> None:
        for name in sorted({*self._shards, *theirs}):
            if self._shards.get(name) != theirs.get(name):
                raise StaleRun(
                    f"{peer[0]} {peer[1]} reads other shards under data.{name} than this process: their fingerprint is "
                    f"{str(theirs.get(name))[:12]}, here it is {str(self._shards.get(name))[:12]}. Labels would lie on "
                    f"other frames: put the same shards there on every host."
                )

    def _read(self, peer: Peer) -> dict[str, Any] | None:
        """A peer's hello; None where it has written none, or where a damaged one lies until its writer repeats it."""
        name = NAMES.hello(*peer).as_posix()
        raw = self._store.get(name)
        kinds = {"nonce": str, "run_id": str, "host": str, "path": str, "shards": dict, "seen": dict}
        try:
            hello = read_sealed(raw) if raw else None
            if hello is not None and any(type(hello.get(key)) is not kind for key, kind in kinds.items()):
                raise ValueError("a value of it is missing or of another kind")
        except ValueError as error:
            log.log(
                logging.DEBUG if peer in self._damaged else logging.WARNING,
                "%s is no hello (%s); waiting for another one",
                self._store.where(name),
                error,
            )
            self._damaged.add(peer)
            return None
        self._damaged.discard(peer)
        return hello


class RunEnd:
    """Ends a run once and for everybody."""

    def __init__(self, store: Store, limits: DeadlinesConfig | None = None) -> None:
        """Within `limits` a full disk is waited for."""
        self._store = store
        self._limits = limits
        self._name = NAMES.stop.as_posix()
        when_there_is_room(lambda: ensure(store, self._name), limits)

    def announce(self, reason: str) -> None:
        """Only the student's rank 0 calls this."""
        when_there_is_room(lambda: self._store.replace(self._name, reason.encode()), self._limits)

    def reason(self) -> str:
        """Why the run ends; empty while it goes on."""
        return self._store.get(self._name).decode(errors="replace")


def _key(peer: Peer) -> str:
    return f"{peer[0]}-{peer[1]}"
