"""A student role's life: step after step until the run is done, somebody asks it to stop, or nothing can be learnt.

Nothing here waits for a teacher without a deadline, and only where the user asked for it or where running on would be
in vain (`run_ahead`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import DataError, ExchangeError, ExitCode, PeerLost, StaleRun
from tsal_dist.exchange.beat import DONE, Heart, Watch
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.roles.replay import Replay
from tsal_dist.roles.run_ahead_limit import RunAheadLimit
from tsal_dist.roles.student import StepMessage, Student, agree_on_step
from tsal_dist.roles.student_upkeep import StudentUpkeep

log = logging.getLogger(__name__)

STUDENT_PEER, TEACHER_PEER = ("student", 0), ("teacher", 0)
"""Rank 0 of either role speaks for it."""
AT_WORK = ("absorb", "label")
"""The phases of a teacher that will send labels."""


class Schedule(Protocol):
    """A teacher that keeps step; see `lockstep`."""

    def before_step(self, step: int) -> None: ...

    def after_step(self, step: int) -> None: ...


@dataclass
class Peers:
    """A rank's standing among the others: its heartbeat, and what only rank 0 has: all the rest."""

    heart: Heart
    require_current: Callable[[], None]
    """Raises StaleRun where a successor of this process has started."""
    handshake: Handshake | None
    end: RunEnd | None
    watch: Watch | None = None
    """The teacher's heartbeat: what is said of it when labels stay away."""
    schedule: Schedule | None = None
    """Where the roles take turns; otherwise neither waits for the other."""
    run_ahead: RunAheadLimit = field(default_factory=RunAheadLimit)
    beat_s: float = 1.0
    waited_in_vain_at: int = -1
    """How many rows had ever been committed when waiting for more was given up."""
    _last: float = -1e9
    _alone: bool = False
    _mute: bool = False

    def tick(self, phase: str, step: int) -> None:
        """Show a sign of life, and answer peers that came back. Cheap enough for every step."""
        now = time.monotonic()
        if now - self._last < self.beat_s:
            return
        self._last = now
        try:
            self.require_current()
            self.heart.beat(phase, step)
            if self.handshake:
                self.handshake.answer([TEACHER_PEER])
            self._look_after_teacher(step)
            self._mute = False
        except StaleRun:
            raise
        except ExchangeError as error:
            # A full disk is no reason to stop learning. Said once, not every second.
            log.log(logging.DEBUG if self._mute else logging.WARNING, "no sign of life: %s", error)
            self._mute = True

    def whereabouts(self) -> str:
        """What is known of the teacher, in words."""
        pulse = self.watch.look()[TEACHER_PEER] if self.watch else None
        if pulse is None:
            return "teacher 0 has never been seen"
        if pulse.phase == DONE:
            return "teacher 0 has left"
        return (
            f"teacher 0 gave its last sign of life {pulse.silent_s:.0f} s ago on {pulse.host or 'an unnamed host'}, "
            f"in phase {pulse.phase!r} at step {pulse.step}"
        )

    def has_lost_teacher(self) -> bool:
        """Whether the teacher is silent past the deadline, or has left."""
        if self.watch is None:
            return False
        pulse = self.watch.look()[TEACHER_PEER]
        return bool(self.watch.lost()) or (pulse is not None and pulse.phase == DONE)

    def has_given_up(self, planner: Planner) -> bool:
        """Whether the last wait was in vain and nothing has come since."""
        return planner.committed_rows == self.waited_in_vain_at

    def teacher_is_at_work(self) -> bool:
        """Whether labels can be expected: the teacher lives, and neither rests nor waits for the student."""
        if self.watch is None or self.watch.lost():
            return False
        pulse = self.watch.look()[TEACHER_PEER]
        return pulse is not None and pulse.phase in AT_WORK

    def _look_after_teacher(self, step: int) -> None:
        """Say when the student is on its own, and when no longer."""
        if self.watch is None:
            return
        alone = self.has_lost_teacher()
        if alone and not self._alone:
            log.warning(
                "step %d: %s; going on with the labels that are there, then without", step, self.whereabouts()
            )
        elif self._alone and not alone:
            log.info("step %d: the teacher is back", step)
        self._alone = alone


def run_student(student: Student, upkeep: StudentUpkeep, peers: Peers, stop: StopFlag) -> ExitCode:
    """Train to the last step (DONE), or leave early with everything saved (REQUEUE)."""
    resumed = upkeep.resume()
    if resumed is not None and student.done:
        log.info("the run had reached its last step already")
    while not student.done:
        peers.tick("train", student.step_number)
        with student.pace.phase("duty"):
            upkeep.before_step()
        if peers.schedule:
            with student.pace.phase("wait"):
                peers.schedule.before_step(student.step_number)
        message = agree_on_step(
            student,
            stop.reason if stop.agreed() else "",
            lambda step: find_plan(student, step, peers, stop),
        )
        if message.stop:
            log.warning("stopping at step %d: %s", student.step_number, message.stop)
            if student.step_number != upkeep.checkpoints.at:
                upkeep.checkpoint()
            return ExitCode.REQUEUE
        take_step(student, message)
        if peers.schedule:
            peers.schedule.after_step(student.step_number)
        with student.pace.phase("duty"):
            upkeep.after_step()
    if peers.end:
        peers.end.announce("the student has reached its last step")
    return ExitCode.DONE


def take_step(student: Student, message: StepMessage) -> None:
    """Train on what was ordered, have read what comes next, and let the planner know."""
    for plan in message.plans:
        student.expect(plan)
    step = student.step_number
    if student.usage and step in student.coming:
        student.usage.take(student.coming[step])
    student.step()
    _report_damage(student)
    if student.planner:
        student.planner.trained(step)


def find_plan(student: Student, step: int, peers: Peers, stop: StopFlag) -> Plan | None:
    """Rank 0: the rows of a step, by what the user wants done when there are too few; None where that can wait."""
    planner = student.planner
    assert planner is not None, "rank 0 of a role that reads labels has a planner"
    with student.pace.phase("wait"):
        if isinstance(planner, Replay):
            return planner.plan(step, student.config.train.unlabelled_batch, student.world)
        return _find_plan(planner, student, step, peers, stop)


def _find_plan(planner: Planner, student: Student, step: int, peers: Peers, stop: StopFlag) -> Plan | None:
    rows, policy = student.config.train.unlabelled_batch, student.config.runtime.queue.on_starvation
    if step > student.step_number and planner.pending_rows < rows * student.world:
        return None  # fresh rows may come until its turn does
    planner.tick()
    if policy in ("wait", "abort"):
        # A log that has come to its end stays there: one deadline is enough.
        ended = student.config.runtime.offline and peers.has_given_up(planner)
        _wait_for_rows(planner, student, rows * student.world, peers, stop, lambda: not ended)
    elif peers.run_ahead.holds(step, planner.bound_steps):
        _wait_for_rows(
            planner,
            student,
            1,
            peers,
            stop,
            lambda: peers.teacher_is_at_work() and not peers.has_given_up(planner),
        )
    plan = planner.plan(step, rows, student.world, replay=policy == "replay")
    peers.run_ahead.observe(plan)
    return plan


def _wait_for_rows(
    planner: Planner,
    student: Student,
    rows: int,
    peers: Peers,
    stop: StopFlag,
    hope: Callable[[], bool],
) -> None:
    """Return when enough rows are there, or when they stay away for too long; where the user said so, that ends it.

    Without `hope` for more it returns at once.
    """
    runtime = student.config.runtime
    limits = runtime.deadlines
    deadline = time.monotonic() + limits.silent_s
    while planner.pending_rows + planner.replayable_rows < rows and not stop.requested:
        if not hope():
            return
        if time.monotonic() > deadline:
            who = "the logs that it learns from have no more" if runtime.offline else peers.whereabouts()
            message = (
                f"No labels came for {limits.silent_s:g} s at step {student.step_number}: {who} "
                f"({planner.topic.store.where()})."
            )
            if runtime.queue.on_starvation == "abort":
                raise PeerLost(f"{message} Look at its log, or set runtime.queue.on_starvation=replay.")
            log.warning("%s Going on with labelled frames.", message)
            peers.waited_in_vain_at = planner.committed_rows
            return
        peers.tick("wait for labels", student.step_number)
        time.sleep(limits.poll_s)
        planner.tick()


def _report_damage(student: Student) -> None:
    """Have rank 0 plan nothing more of what this rank could not read."""
    damaged = student.feed.consumer.damaged if student.feed else {}
    if damaged and student.config.runtime.replay:
        (producer, seq), fault = next(iter(damaged.items()))
        raise DataError(f"Segment {seq} of {producer} was lost during the replay: {fault}")
    if isinstance(student.planner, Planner):
        for (producer, seq), fault in damaged.items():
            student.planner.condemn(producer, seq, fault)
        damaged.clear()
