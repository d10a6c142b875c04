"""A rank among the others: it shows that it lives, and knows what can be known of the other role."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tsal_dist.clock import Clock
from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.exchange.beat import Heart, Peer, Pulse, Watch
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.run_dir import DONE

log = logging.getLogger(__name__)

STUDENT_PEER, TEACHER_PEER = ("student", 0), ("teacher", 0)
"""Rank 0 of either role speaks for it; of further crews of teachers, each one's own."""
AT_WORK = ("absorb", "label")
"""The phases of a teacher that will send labels."""


class Peers(Protocol):
    """What a student's loop asks of those around it."""

    def tick(self, phase: str, step: int) -> None:
        """Show a sign of life, and answer peers that came back. Cheap enough for every step."""
        ...

    def whereabouts(self) -> str:
        """What is known of the teachers, in words."""
        ...

    def has_lost_teacher(self) -> bool:
        """Whether all teachers are silent past the deadline, or have left."""
        ...

    def teacher_is_at_work(self) -> bool:
        """Whether labels can be expected: a teacher lives, and neither rests nor waits for the student."""
        ...

    def announce_end(self, reason: str) -> None:
        """End the run, for everybody."""
        ...


class SignOfLife:
    """A rank's heartbeat, no more often than anybody looks."""

    def __init__(
        self,
        heart: Heart,
        require_current: Callable[[], None],
        clock: Clock,
        every_s: float,
    ) -> None:
        """`require_current` raises StaleRun where a successor of this process has started."""
        self._heart = heart
        self._require_current = require_current
        self._clock = clock
        self._every_s = every_s
        self._last_s = -1e9
        self._mute = False

    def show(self, phase: str, step: int, besides: Callable[[], object] = lambda: None) -> None:
        """Beat where it is time, and do what is due with each beat.

        A store that refuses is no reason to stop working: said once, not every second.
        """
        now_s = self._clock.now_s()
        if now_s - self._last_s < self._every_s:
            return
        self._last_s = now_s
        try:
            self._require_current()
            self._heart.beat(phase, step)
            besides()
        except StaleRun:
            raise
        except ExchangeError as error:
            log.log(logging.DEBUG if self._mute else logging.WARNING, "no sign of life: %s", error)
            self._mute = True
        else:
            self._mute = False


class NoTeacher:
    """Of a rank that meets no teacher: rank 0 of its role does, or the method has none, or it is in this process."""

    def __init__(self, life: SignOfLife, end: RunEnd | None) -> None:
        """`end` is rank 0's alone."""
        self._life = life
        self._end = end

    def tick(self, phase: str, step: int) -> None:
        self._life.show(phase, step)

    def whereabouts(self) -> str:
        return "teacher 0 has never been seen"

    def has_lost_teacher(self) -> bool:
        return False

    def teacher_is_at_work(self) -> bool:
        return False

    def announce_end(self, reason: str) -> None:
        if self._end:
            self._end.announce(reason)


class WatchedTeachers:
    """Of the student's rank 0: the teachers elsewhere, of which nothing is known but their files. Each crew comes and goes
    by itself; only with the last one the student is on its own."""

    def __init__(
        self,
        life: SignOfLife,
        end: RunEnd,
        handshake: Handshake,
        watch: Watch,
        list_crews: Callable[[], Iterable[Peer]],
        clock: Clock,
        list_every_s: float,
    ) -> None:
        """`watch` knows the first crew; `list_crews` finds those that join. It lists every rank of a run, so it is asked
        more seldom than heartbeats are looked at."""
        self._life = life
        self._end = end
        self._handshake = handshake
        self._watch = watch
        self._list_crews = list_crews
        self._clock = clock
        self._list_every_s = list_every_s
        self._listed_s = -1e9
        self._away: set[Peer] = set()

    def tick(self, phase: str, step: int) -> None:
        self._life.show(phase, step, lambda: self._look_around(step))

    def whereabouts(self) -> str:
        pulses = self._watch.look()
        seen = [peer for peer, pulse in pulses.items() if pulse] or list(pulses)
        return "; ".join(_describe(peer, pulses[peer]) for peer in seen)

    def has_lost_teacher(self) -> bool:
        pulses = self._watch.look()
        return self._absent(pulses) >= pulses.keys()

    def teacher_is_at_work(self) -> bool:
        lost = set(self._watch.lost())
        return any(
            pulse.phase in AT_WORK for peer, pulse in self._watch.look().items() if pulse and peer not in lost
        )

    def announce_end(self, reason: str) -> None:
        self._end.announce(reason)

    def _absent(self, pulses: Mapping[Peer, Pulse | None]) -> set[Peer]:
        """The crews that are silent past the deadline, or have left."""
        left = {peer for peer, pulse in pulses.items() if pulse and pulse.phase == DONE}
        return left | set(self._watch.lost())

    def _look_around(self, step: int) -> None:
        """Answer teachers that came, or came back; say when the student is on its own, and when no longer."""
        if self._clock.now_s() - self._listed_s >= self._list_every_s:
            self._listed_s = self._clock.now_s()
            for peer in self._list_crews():
                self._watch.add(peer)
        pulses = self._watch.look()
        self._handshake.answer(pulses)
        away, before = self._absent(pulses), self._away
        alone = away >= pulses.keys()
        for peer in sorted(away - before):
            if alone or pulses[peer]:  # a first crew that nobody started is missed by nobody
                rest = "the labels that are there, then without" if alone else "those of other teachers"
                log.warning("step %d: %s; going on with %s", step, _describe(peer, pulses[peer]), rest)
        for peer in sorted(before - away):
            log.info("step %d: the %s is back", step, peer[0])
        self._away = away


def _describe(peer: Peer, pulse: Pulse | None) -> str:
    """What is known of rank 0 of a crew."""
    name = f"{peer[0]} {peer[1]}"
    if pulse is None:
        return f"{name} has never been seen"
    if pulse.phase == DONE:
        return f"{name} has left"
    return (
        f"{name} gave its last sign of life {pulse.silent_s:.0f} s ago on {pulse.host or 'an unnamed host'}, in phase "
        f"{pulse.phase!r} at step {pulse.step}"
    )
