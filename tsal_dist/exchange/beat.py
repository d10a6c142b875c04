"""Signs of life. A peer is alive while its heartbeat changes, measured on the reader's own monotonic clock.

Neither file times nor the clocks of other hosts are compared with ours: hosts disagree, and NFS caches times.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tsal_dist.errors import PeerLost
from tsal_dist.exchange.store import Store, ensure
from tsal_dist.json_object import read_object
from tsal_dist.run_dir import CREW, DONE, RunDir

log = logging.getLogger(__name__)

NAMES = RunDir(Path())  # the run's layout as names of a store rooted at the run directory
OTHER_RANKS = 10
PER_SILENCE = 6

Peer = tuple[str, int]
"""Role and rank."""


@dataclass(frozen=True)
class Beat:
    """A rank's sign of life, as its file has it. It holds no time: whether it is alive shows by looking twice."""

    incarnation: int
    seq: int
    phase: str
    step: int
    host: str
    memory: Mapping[str, float] = field(default_factory=dict)
    """What the rank held, in GB, by the names of metrics."""


@dataclass(frozen=True, kw_only=True)
class Pulse(Beat):
    """The last heartbeat of a peer and how long ago this process saw it change."""

    silent_s: float


class Heart:
    """This rank's own heartbeat; call `beat` from every loop that may take long."""

    def __init__(
        self,
        store: Store,
        role: str,
        rank: int,
        incarnation: int,
        host: str = "",
        measure: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`measure` tells what memory this process holds."""
        self._store = store
        self._measure = measure
        self._name = NAMES.beat(role, rank).as_posix()
        self._incarnation = incarnation
        self._host = host
        self._seq = 0

    def beat(self, phase: str, step: int) -> None:
        """Say that this rank is alive; the phase `done` says goodbye."""
        self._seq += 1
        beat = Beat(self._incarnation, self._seq, phase, step, self._host, dict(self._measure()))
        self._store.replace(self._name, json.dumps(asdict(beat)).encode())


def list_crews(store: Store, role: str) -> list[Peer]:
    """Rank 0 of every crew of `role` that ever showed a sign of life: crews come when they like, and nobody knows their
    names. This folder is listed because whoever looks writes into it as well: an NFS client looks anew at what it has
    changed itself, and may show another folder out of its cache for a minute."""
    first = re.compile(rf"({role}(?:-{CREW})?)-0\.json")
    names = store.children(NAMES.beats.as_posix())
    return [(match[1], 0) for name in names if (match := first.fullmatch(name))]


def beat_every_s(rank: int, beat_s: float, silent_s: float) -> float:
    """Seconds between two beats of a rank. A beat is several operations of a filesystem that all ranks share, and of a
    role only rank 0 is waited for: the others beat for people and probes."""
    return min(beat_s if rank == 0 else OTHER_RANKS * beat_s, silent_s / PER_SILENCE)


def read_beat(raw: bytes) -> Beat | None:
    """What a heartbeat says; None for a file that holds none, as before the first one."""
    kinds = {"incarnation": int, "seq": int, "phase": str, "step": int, "host": str}
    try:
        text = read_object(raw)
    except ValueError:
        return None
    if not all(type(text.get(name)) is kind for name, kind in kinds.items()):
        return None
    return Beat(**{name: text[name] for name in kinds}, memory=_read_numbers(text.get("memory")))


def _read_numbers(text: object) -> dict[str, float]:
    """Numbers by name, of what was written by who knows whom; one of an earlier version says nothing of its memory."""
    given = text.items() if isinstance(text, dict) else ()
    return {name: value for name, value in given if type(value) is float}


class Watch:
    """The heartbeats of `peers`."""

    def __init__(
        self,
        store: Store,
        peers: Iterable[Peer],
        silent_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._silent_s = silent_s
        self._clock = clock
        self._seen: dict[Peer, tuple[bytes, float]] = {}
        for peer in peers:
            self.add(peer)

    def add(self, peer: Peer) -> None:
        """Watch this one as well, from now on; no news where it is watched already."""
        if peer not in self._seen:
            ensure(self._store, NAMES.beat(*peer).as_posix())
            self._seen[peer] = (b"", self._clock())

    def look(self) -> dict[Peer, Pulse | None]:
        """Every peer's pulse; None for one that has never beaten."""
        return {peer: self._pulse(peer) for peer in self._seen}

    def lost(self) -> list[Peer]:
        """Peers that were silent past the deadline and did not say goodbye."""
        pulses = self.look()
        return [peer for peer, pulse in pulses.items() if self._is_lost(peer, pulse)]

    def lives(self, peer: Peer) -> bool:
        """Whether `peer` has been seen, is not silent past the deadline and did not say goodbye."""
        pulse = self._pulse(peer)
        return pulse is not None and pulse.phase != DONE and not self._is_lost(peer, pulse)

    def require(self, peer: Peer) -> None:
        """Raise PeerLost where `peer` is lost."""
        pulse = self._pulse(peer)
        if not self._is_lost(peer, pulse):
            return
        last = (
            f"last seen on {pulse.host or 'an unnamed host'} in phase {pulse.phase!r} at step {pulse.step}"
            if pulse
            else "never seen"
        )
        raise PeerLost(
            f"{peer[0]} {peer[1]} has been silent for {self._quiet_s(peer):.0f} s, more than "
            f"{self._silent_s:g} s; {last}. Look at its log, or restart it: this side can go on from where it is."
        )

    def _is_lost(self, peer: Peer, pulse: Pulse | None) -> bool:
        return self._quiet_s(peer) > self._silent_s and (pulse is None or pulse.phase != DONE)

    def _quiet_s(self, peer: Peer) -> float:
        return self._clock() - self._seen[peer][1]

    def _pulse(self, peer: Peer) -> Pulse | None:
        raw = self._store.get(NAMES.beat(*peer).as_posix())
        beat = read_beat(raw)
        if raw != self._seen[peer][0]:
            self._seen[peer] = (raw, self._clock())
            if raw and beat is None:
                log.warning("The heartbeat of %s %d is no heartbeat; who else writes there?", *peer)
        return Pulse(**vars(beat), silent_s=self._quiet_s(peer)) if beat else None
