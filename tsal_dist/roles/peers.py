"""A rank among the others: it shows that it lives, and knows what can be known of the other role."""

import logging
from collections.abc import Callable
from typing import Protocol

from tsal_dist.clock import Clock
from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.exchange.beat import DONE, Heart, Watch
from tsal_dist.exchange.fence import Handshake, RunEnd

log = logging.getLogger(__name__)

STUDENT_PEER, TEACHER_PEER = ("student", 0), ("teacher", 0)
"""Rank 0 of either role speaks for it."""
AT_WORK = ("absorb", "label")
"""The phases of a teacher that will send labels."""


class Peers(Protocol):
    """What a student's loop asks of those around it."""

    def tick(self, phase: str, step: int) -> None:
        """Show a sign of life, and answer peers that came back. Cheap enough for every step."""
        ...

    def whereabouts(self) -> str:
        """What is known of the teacher, in words."""
        ...

    def has_lost_teacher(self) -> bool:
        """Whether the teacher is silent past the deadline, or has left."""
        ...

    def teacher_is_at_work(self) -> bool:
        """Whether labels can be expected: the teacher lives, and neither rests nor waits for the student."""
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


class WatchedTeacher:
    """Of the student's rank 0: a teacher elsewhere, of which nothing is known but its files."""

    def __init__(self, life: SignOfLife, end: RunEnd, handshake: Handshake, watch: Watch) -> None:
        self._life = life
        self._end = end
        self._handshake = handshake
        self._watch = watch
        self._alone = False

    def tick(self, phase: str, step: int) -> None:
        self._life.show(phase, step, lambda: self._look_around(step))

    def whereabouts(self) -> str:
        pulse = self._watch.look()[TEACHER_PEER]
        if pulse is None:
            return "teacher 0 has never been seen"
        if pulse.phase == DONE:
            return "teacher 0 has left"
        return (
            f"teacher 0 gave its last sign of life {pulse.silent_s:.0f} s ago on {pulse.host or 'an unnamed host'}, "
            f"in phase {pulse.phase!r} at step {pulse.step}"
        )

    def has_lost_teacher(self) -> bool:
        pulse = self._watch.look()[TEACHER_PEER]
        return bool(self._watch.lost()) or (pulse is not None and pulse.phase == DONE)

    def teacher_is_at_work(self) -> bool:
        if self._watch.lost():
            return False
        pulse = self._watch.look()[TEACHER_PEER]
        return pulse is not None and pulse.phase in AT_WORK

    def announce_end(self, reason: str) -> None:
        self._end.announce(reason)

    def _look_around(self, step: int) -> None:
        """Answer a teacher that came back; say when the student is on its own, and when no longer."""
        self._handshake.answer([TEACHER_PEER])
        alone = self.has_lost_teacher()
        if alone and not self._alone:
            log.warning(
                "step %d: %s; going on with the labels that are there, then without", step, self.whereabouts()
            )
        elif self._alone and not alone:
            log.info("step %d: the teacher is back", step)
        self._alone = alone
