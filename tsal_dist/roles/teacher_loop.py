"""A teacher role's life: absorb, label, and rest while the student is behind, until the run ends.

Rank 0 decides what the role absorbs and when it ends, since its ranks learn together; each rank labels for itself
and has its own credit.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tsal_dist.checkpoint.rng import capture_rng, resume_rng, seed_rng
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.clock import Clock
from tsal_dist.dist.collectives import broadcast_json
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.engine.inference import Inference
from tsal_dist.errors import ExchangeError, ExitCode, PeerLost, StaleRun
from tsal_dist.exchange.beat import Watch
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.inference.evaluation import sum_over_ranks
from tsal_dist.inference.kept_frames import KeptFrames
from tsal_dist.observe.display import Display
from tsal_dist.observe.memory import read_memory
from tsal_dist.observe.sinks import Sink
from tsal_dist.roles.feedback import Note
from tsal_dist.roles.peers import STUDENT_PEER, SignOfLife
from tsal_dist.roles.teacher import Teacher
from tsal_dist.weights.fetch import Fetched, WeightReader, hand_on

log = logging.getLogger(__name__)

IDLE_S = 0.02
"""A rank without work looks again this often: short, for its peers wait for it at the next decision."""


@dataclass
class TeacherLinks:
    """One teacher rank's connections; `handshake`, `end` and `sink` are rank 0's alone."""

    teacher: Teacher
    judged: Inference
    gate_frames: KeptFrames
    weights: WeightReader
    checkpoints: Checkpoints
    clock: Clock
    life: SignOfLife
    require_current: Callable[[], None]
    """Raises StaleRun where a successor of this process has started."""
    student: Watch | None
    """The heartbeat of the student's rank 0; None where the roles take turns, and nobody runs ahead."""
    handshake: Handshake | None
    end: RunEnd | None
    sink: Sink | None
    display: Display | None = None
    """What a person watches, where the student does not share this terminal."""
    superseded: int = 0
    """Versions that were gone before they could be absorbed."""
    stuck: bool = False
    """Whether the queue's disk refuses labels: no more are made until it takes those that are there."""
    _orphaned_since_s: float | None = None
    _mute: bool = False
    _teacher_nme: float | None = None
    """On the gate's frames, of the weights that `judged` holds."""

    def absorb_new(self, steps: list[int]) -> None:
        """Absorb these versions in order, and compare with the student after each. Collective."""
        for step in steps:
            fetched = self._fetch(step)
            if fetched is None:
                self.superseded += 1
                continue
            self.teacher.absorb(step, fetched.tensors)
            self._check_gate(fetched.version.nme)
            config = self.teacher.config
            # The last one before the student saves. Who goes on from there cannot use a later one; in turns, both save together.
            to_next = range(step, step + config.runtime.weights.publish_every)
            if step and any(map(config.saves_after, to_next)) and not config.takes_turns:
                self.save()

    def look_for_versions(self) -> tuple[int | None, list[int]]:
        """The newest version, where it is older than the one absorbed last: the others are of a lost history. And what
        is there to absorb, as the method wants it: every version, or the newest."""
        there, mine = self.weights.versions_since(-1), self.teacher.version
        back = there[-1] if there and there[-1] < mine else None
        new = [step for step in there if step > mine]
        return back, new if self.teacher.recipe.every_version else new[-1:]

    def go_back(self, step: int) -> None:
        """Forget what a student that was killed had sent after the checkpoint it goes on from. Collective."""
        log.warning("the student went back to step %d or earlier: so does the teacher", step)
        self.resume(step)
        if self.teacher.version > step:
            self.teacher.version = -1  # there is no checkpoint that old: absorb again what is still there

    def save(self) -> None:
        """Checkpoint the role at the version it stands at. Collective."""
        if self.teacher.version >= 0:
            self.save_at(self.teacher.version)

    def save_at(self, step: int) -> None:
        """Checkpoint the role as it is at a student step; what it knows may be older. Collective."""
        self.require_current()
        self.checkpoints.save(step, self.teacher.state_dict(), {"rng": capture_rng()})
        if self.teacher.wishes and self.teacher.rank == 0 and self.teacher.config.runtime.queue.collect:
            kept = self.checkpoints.peek_all("clips")
            self.teacher.wishes.forget_before([clips["wishes"] for clips in kept])

    def resume(self, most: int | None) -> None:
        """Take up the newest checkpoint that is not ahead of the student's `most`. Collective."""
        seed, rank = self.teacher.config.train.seed, self.teacher.rank
        loaded = self.checkpoints.load_latest(-1 if most is None else most)
        if loaded is None:
            seed_rng(seed, 0, rank)
            return
        self.teacher.load_state_dict(loaded.state)
        resume_rng(loaded.rank_state, seed, loaded.step, rank)
        log.info("resumed with the student's version of step %d", loaded.step)

    def tick(self, phase: str) -> None:
        """A sign of life, for the student and for whoever watches; answer a student that came back."""
        if self.display:
            self.display.update()
        self.life.show(phase, self.teacher.version, self._answer)

    def write_down(self) -> None:
        if self.sink and self.teacher.version >= 0:
            numbers = self.teacher.metrics | {
                "labels/rows": float(self.teacher.labelled_rows),
                "weights/superseded": float(self.superseded),
                "gate/open": float(self.teacher.may_label),
            }
            numbers |= {f"speed/{name}": value for name, value in self.teacher.pace.collect().items()}
            numbers |= read_memory()
            self.sink.write(self.teacher.version, numbers)

    def may_publish(self) -> bool:
        """Whether the readers keep up. A student that is away for long ends this role, with its work saved."""
        try:
            ready = self.teacher.producer.ready()
        except PeerLost as lost:
            self._wait_for_reader(lost)
            return False
        self._orphaned_since_s, self._mute = None, False
        return ready

    def _wait_for_reader(self, lost: PeerLost) -> None:
        """Be patient with a student that is away, up to a deadline; and without one while its heart beats: it trains, and
        cannot say how far, as where the queue's disk is full and no other. It will, or its heart stops."""
        now_s = self.clock.now_s()
        if self.student and self.student.lives(STUDENT_PEER):
            log.log(
                logging.DEBUG if self._mute else logging.WARNING,
                "parked: the student lives, and does not say what it has trained; its log says why (%s)",
                lost,
            )
            self._orphaned_since_s, self._mute = None, True
            return
        if self._orphaned_since_s is None:
            self._orphaned_since_s = now_s
        if now_s - self._orphaned_since_s > self.teacher.config.runtime.deadlines.grace_s:
            raise lost
        log.debug("parked: %s", lost)

    def _answer(self) -> None:
        if self.student:
            self.student.look()  # so that a heart that has stopped is known to have, once it matters
        if self.handshake:
            self.handshake.answer([STUDENT_PEER])

    def _fetch(self, step: int) -> Fetched | None:
        """A version that rank 0 could read, or None on every rank. Collective."""
        fetched = None
        try:
            fetched = self.weights.fetch(step) if self.teacher.rank == 0 else None
        except ExchangeError as error:
            log.warning("version %d is skipped: %s", step, error)
        return hand_on(fetched)

    def _check_gate(self, student_nme: float | None) -> None:
        teacher = self.teacher
        if student_nme is None or not teacher.config.train.gate.enabled:
            return
        teacher_nme = self._measure_teacher()
        was_open = teacher.gate.is_open
        teacher.gate.observe_teacher(teacher_nme)
        teacher.gate.observe_student(student_nme)
        teacher.metrics |= {"gate/teacher_nme": teacher_nme, "gate/student_nme": student_nme}
        if teacher.gate.is_open != was_open:
            log.info(
                "the gate %s at step %d: teacher NME %.4f, student %.4f",
                "opens" if teacher.gate.is_open else "closes",
                teacher.version,
                teacher_nme,
                student_nme,
            )

    def _measure_teacher(self) -> float:
        """A net that did not change, such as one that was brought along, is not measured again. Collective."""
        weights = self.teacher.engine.full_weights()
        if self._teacher_nme is None or not self.judged.holds(weights):
            self.judged.load(weights)
            found = sum_over_ranks(self.gate_frames.run(self.judged, between=lambda: self.tick("absorb")))
            self._teacher_nme = found.errors.nme
        return self._teacher_nme


def run_teacher(links: TeacherLinks, stop: StopFlag) -> ExitCode:
    """Teach until the student says that the run ends (DONE), or until asked to leave (REQUEUE)."""
    while (code := go_round(links, stop)) is None:
        pass
    return code


def go_round(links: TeacherLinks, stop: StopFlag) -> ExitCode | None:
    """Absorb what is new, label once or rest a little; None where that goes on. Collective."""
    teacher = links.teacher
    asked = stop.agreed()
    message = broadcast_json(_decide(links) if teacher.rank == 0 else None)
    if message["end"] or asked:
        return _leave(links, message["end"])
    if message["back"] is not None:
        links.go_back(message["back"])
        return None
    if message["absorb"]:
        links.tick("absorb")
        with teacher.pace.phase("absorb"):
            links.absorb_new(message["absorb"])
        links.write_down()
    if teacher.wishes:
        teacher.wishes.hear(message["notes"], teacher.version)
    wanted = teacher.may_label
    if wanted and not links.stuck and links.may_publish():
        links.tick("label")
        with teacher.pace.phase("label"):
            _send(links, teacher.label)
    else:
        links.tick("parked" if wanted else "wait for the student")
        with teacher.pace.phase("parked" if wanted else "unwanted"):
            links.clock.sleep(IDLE_S)
    _send(links, teacher.producer.tick)
    return None


def _leave(links: TeacherLinks, end: str) -> ExitCode:
    """Save; the run has ended where there is a reason for it."""
    if end:
        log.info("the run has ended: %s", end)
    links.save()
    _close_producer(links.teacher)
    return ExitCode.DONE if end else ExitCode.REQUEUE


def _decide(links: TeacherLinks) -> dict[str, Any]:
    back, absorb = links.look_for_versions()
    return {
        "end": links.end.reason() if links.end else "",
        "back": back,
        "absorb": absorb,
        "notes": _read_notes(links.teacher),
    }


def _read_notes(teacher: Teacher) -> list[Note]:
    try:
        return teacher.wishes.read() if teacher.wishes else []
    except StaleRun:
        raise
    except ExchangeError as error:
        log.debug("the student's notes are not read: %s", error)  # labelling goes on in the usual order
        return []


def _send(links: TeacherLinks, act: Callable[[], object]) -> None:
    """Label, or publish what is due. A disk that is full costs nothing but time: what it refused is sent later."""
    try:
        act()
    except StaleRun:
        raise  # a successor has started: this process must end
    except ExchangeError as error:
        if not links.stuck:
            log.warning("labels wait: %s", error)
        links.stuck = True
        links.clock.sleep(links.teacher.config.runtime.deadlines.poll_s)
    else:
        if links.stuck:
            log.info("labels are sent again")
        links.stuck = False


def _close_producer(teacher: Teacher) -> None:
    try:
        teacher.producer.close()
    except ExchangeError as error:
        log.warning("the last labels were not published: %s", error)
