"""The fixed schedule: when it is the teacher's turn, and what it does in it.

before a step   where the student publishes: absorb what is new; where a teacher's cycle begins: label all that the
                student trains on in it
after a step    where the student saves: save

`inline` keeps it within one process. With `runtime.lockstep` the roles of `split` keep it through two files: the
student writes what it asks for and waits, the teacher does it and writes the same words back. So a run in two processes
computes what `inline` does, to the bit where both use equally many threads, and as slowly. Whoever stops or is killed,
both roles are resumed from where both can go on; one alone is refused.
"""

import json
import logging
import secrets
from typing import Any

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.clock import Clock
from tsal_dist.config import RunConfig
from tsal_dist.dist.collectives import broadcast_json, gather_json
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import CheckpointError, ConfigError, ExchangeError, ExitCode, PeerLost
from tsal_dist.exchange.beat import NAMES, Watch
from tsal_dist.exchange.store import Store, ensure
from tsal_dist.roles.peers import STUDENT_PEER, Peers
from tsal_dist.roles.student_loop import OwnPace
from tsal_dist.roles.teacher_loop import IDLE_S, TeacherLinks
from tsal_dist.run_dir import DONE

log = logging.getLogger(__name__)

TEACH, SAVE = "teach", "save"
ASKED, ANSWERED = NAMES.turn("student").as_posix(), NAMES.turn("teacher").as_posix()


def check_seats(students: int, teachers: int) -> None:
    """As in `inline`, where every process plays both roles."""
    if students != teachers:
        raise ConfigError(
            f"runtime.lockstep needs as many teachers as students, and there are {teachers} and {students}. Set "
            f"runtime.teachers to half of the processes."
        )


def resume_point(config: RunConfig, student: Checkpoints, teacher: Checkpoints) -> int | None:
    """The newest step that the student has saved and that the teacher, from what it has saved, comes to without missing a
    turn; None for the beginning.

    The roles save apart, and where the teacher is killed and the student asked to stop, only the student does.
    """
    last_turns = _last_turns(teacher)
    for step in reversed(student.committed()):
        saved = [at for at in last_turns if at <= step]
        last_turn = last_turns[max(saved)] if saved else -1
        if _next_turn(config, last_turn) >= step:
            return step
    return None


def teaches_before(config: RunConfig, step: int) -> bool:
    """Whether the teacher has something to do before this step."""
    return _absorbs(config, step) or _labels(config, step)


def take_turn(links: TeacherLinks, step: int) -> None:
    """What the teacher does before `step`; once, also where a run was stopped and resumed there. Collective."""
    teacher, config = links.teacher, links.teacher.config
    if step <= teacher.last_turn_step:
        return
    if _absorbs(config, step):
        # The student's rank 0 has published, and only rank 0 here looks for it: it says what all absorb.
        links.absorb_new(broadcast_json(_versions(links, step) if teacher.rank == 0 else None))
        links.write_down()
        if teacher.wishes:
            notes = broadcast_json(teacher.wishes.read() if teacher.rank == 0 else None)
            teacher.wishes.hear(notes, teacher.version)
    if _labels(config, step) and teacher.may_label:
        teacher.label()
        teacher.producer.flush()
    teacher.last_turn_step = step
    gather_json(None)  # every rank's labels are committed before the student looks for them


class Caller(OwnPace):
    """The student's side, on rank 0: its schedule. Where the student goes on, that it left and that the run has ended
    the teacher finds by itself. Make it before the roles meet: what an earlier attempt asked is forgotten then."""

    def __init__(self, store: Store, config: RunConfig, peers: Peers, clock: Clock, stop: StopFlag) -> None:
        self._store, self._config, self._peers, self._clock, self._stop = store, config, peers, clock, stop
        self._name = secrets.token_hex(8)
        store.replace(ASKED, b"")
        ensure(store, ANSWERED)

    def before_step(self, step: int) -> None:
        """Return when the teacher has taken its turn, or when this process is asked to stop."""
        if teaches_before(self._config, step):
            self._ask(TEACH, step)

    def after_step(self, step: int) -> None:
        """Return when the teacher has saved what it is at this step, or when this process is asked to stop."""
        if self._config.saves_after(step):
            self._ask(SAVE, step)

    def _ask(self, what: str, step: int) -> None:
        words = json.dumps({"what": what, "step": step, "by": self._name}).encode()
        self._store.replace(ASKED, words)
        while self._store.get(ANSWERED) != words and not self._stop.requested:
            self._peers.tick("wait for the teacher", step)
            if self._peers.has_lost_teacher():
                raise PeerLost(
                    f"At step {step} the student waits for the teacher to {what}, as runtime.lockstep demands: "
                    f"{self._peers.whereabouts()}. Look at its log, then resume both."
                )
            self._clock.sleep(IDLE_S)


class Called:
    """The teacher's side: it does what the student asks for, one thing after the other, and nothing else."""

    def __init__(self, links: TeacherLinks, store: Store) -> None:
        self._links, self._store = links, store
        limits = links.teacher.config.runtime.deadlines
        ensure(store, ASKED)
        self._watch = Watch(store, [STUDENT_PEER], limits.grace_s, links.clock.now_s)
        self._done: dict[str, Any] = {}
        """What was asked and done last."""

    def go_round(self, stop: StopFlag) -> ExitCode | None:
        """Do what is asked, or rest a little; None where that goes on. Collective."""
        links, teacher = self._links, self._links.teacher
        asked = stop.agreed()
        message = broadcast_json(self._look() if teacher.rank == 0 else None)
        if message["end"] or message["left"] or asked:
            return self._leave(message["end"])
        words = message["words"]
        if not words or words == self._done:
            links.tick("wait for the student")
            with teacher.pace.phase("unwanted"):
                links.clock.sleep(IDLE_S)
            return None
        links.tick(words["what"])
        if words["what"] == SAVE:
            links.save_at(words["step"])
        else:
            self._require_no_gap(words["step"])
            with teacher.pace.phase("label"):
                take_turn(links, words["step"])
        self._done = words
        if teacher.rank == 0:
            self._store.replace(ANSWERED, json.dumps(words).encode())
        return None

    def _leave(self, end: str) -> ExitCode:
        """The run has ended where there is a reason for it; else the role saves what it is."""
        links, teacher = self._links, self._links.teacher
        if not end and teacher.last_turn_step >= 0:
            links.save_at(teacher.last_turn_step)
        teacher.producer.close()
        return ExitCode.DONE if end else ExitCode.REQUEUE

    def _require_no_gap(self, step: int) -> None:
        """Where one role alone was started again, what it computes would be something else than `inline` does."""
        last = self._links.teacher.last_turn_step
        if step not in (last, _next_turn(self._links.teacher.config, last)):
            raise PeerLost(
                f"The student asks for the turn before step {step}, and the teacher's last one was before step {last}: one "
                f"of them was started again without the other. Stop both, and resume both."
            )

    def _look(self) -> dict[str, Any]:
        pulse = self._watch.look()[STUDENT_PEER]
        end = self._links.end.reason() if self._links.end else ""
        self._watch.require(STUDENT_PEER)
        return {
            "end": end,
            "left": pulse is not None and pulse.phase == DONE,
            "words": json.loads(self._store.get(ASKED) or b"null"),
        }


def run_lockstep_teacher(links: TeacherLinks, store: Store, stop: StopFlag) -> ExitCode:
    """Do what the student asks for until the run ends (DONE) or pauses (REQUEUE)."""
    called = Called(links, store)
    while (code := called.go_round(stop)) is None:
        pass
    return code


def _absorbs(config: RunConfig, step: int) -> bool:
    return step % config.runtime.weights.publish_every == 0


def _labels(config: RunConfig, step: int) -> bool:
    since_burn_in = step - config.train.burn_in_steps
    return since_burn_in >= 0 and since_burn_in % config.runtime.teacher_cycle == 0


def _next_turn(config: RunConfig, last: int) -> int:
    """The step before which the teacher has its next turn; `last` is -1 before the first."""
    step = last + 1
    while not teaches_before(config, step):
        step += 1
    return step


def _last_turns(teacher: Checkpoints) -> dict[int, int]:
    """By the step of each checkpoint, the step before which it had had its last turn."""
    found = {}
    for step in teacher.committed():
        try:
            found[step] = int(teacher.peek(step, "last_turn_step"))
        except CheckpointError as error:
            log.debug("nobody can go on from the teacher's step %d: %s", step, error)
    return found


def _versions(links: TeacherLinks, step: int) -> list[int]:
    """What is there to absorb. The version of this step is on disk, but a listing over a network may come late."""
    limits = links.teacher.config.runtime.deadlines
    deadline_s = links.clock.now_s() + limits.silent_s
    while step not in (found := links.look_for_versions()[1]) and links.teacher.version < step:
        if links.clock.now_s() > deadline_s:
            raise ExchangeError(
                f"The student's version of step {step} is not to be seen {limits.silent_s:g} s after it was published. "
                f"Raise runtime.weights.keep if it was collected; else look at the filesystem."
            )
        links.clock.sleep(IDLE_S)
    return found
