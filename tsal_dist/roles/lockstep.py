"""The fixed schedule: when it is the teacher's turn, and what it does in it.

before a step   where the student publishes: absorb what is new; where a teacher's cycle begins: label all that the
                student trains on in it
after a step    where the student saves: save

`inline` keeps it within one process. With `runtime.lockstep` the roles of `split` keep it through two files: the
student writes what it asks for and waits, the teacher does it and writes the same words back. So a run in two processes
computes what `inline` does, to the bit where both use equally many threads, and as slowly.
"""

import json
import logging
import secrets
from typing import Any

from tsal_dist.clock import Clock
from tsal_dist.config import RunConfig
from tsal_dist.dist.collectives import broadcast_json, gather_json
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import ConfigError, ExchangeError, ExitCode, PeerLost
from tsal_dist.exchange.beat import DONE, NAMES, Watch
from tsal_dist.exchange.store import Store, ensure
from tsal_dist.roles.peers import STUDENT_PEER, Peers
from tsal_dist.roles.student_loop import OwnPace
from tsal_dist.roles.teacher_loop import IDLE_S, TeacherLinks

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


def teaches_before(config: RunConfig, step: int) -> bool:
    """Whether the teacher has something to do before this step."""
    return _absorbs(config, step) or _labels(config, step)


def saves_after(config: RunConfig, step: int) -> bool:
    """Whether the teacher saves once the student has come to this step."""
    return step % config.runtime.checkpoint.every == 0


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
        if saves_after(self._config, step):
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


def run_lockstep_teacher(links: TeacherLinks, store: Store, stop: StopFlag) -> ExitCode:
    """Do what the student asks for, one thing after the other, until the run ends (DONE) or pauses (REQUEUE)."""
    teacher = links.teacher
    ensure(store, ASKED)
    watch = Watch(store, [STUDENT_PEER], teacher.config.runtime.deadlines.grace_s)
    done: dict[str, Any] = {}
    while True:
        asked = stop.agreed()
        message = broadcast_json(_look(links, store, watch) if teacher.rank == 0 else None)
        if message["end"] or message["left"] or asked:
            break
        words = message["words"]
        if not words or words == done:
            links.tick("wait for the student")
            with teacher.pace.phase("unwanted"):
                links.clock.sleep(IDLE_S)
            continue
        links.tick(words["what"])
        if words["what"] == SAVE:
            links.save_at(words["step"])
        else:
            with teacher.pace.phase("label"):
                take_turn(links, words["step"])
        done = words
        if teacher.rank == 0:
            store.replace(ANSWERED, json.dumps(words).encode())
    if not message["end"] and teacher.last_turn_step >= 0:
        links.save_at(teacher.last_turn_step)
    teacher.producer.close()
    return ExitCode.DONE if message["end"] else ExitCode.REQUEUE


def _absorbs(config: RunConfig, step: int) -> bool:
    return step % config.runtime.weights.publish_every == 0


def _labels(config: RunConfig, step: int) -> bool:
    since_burn_in = step - config.train.burn_in_steps
    return since_burn_in >= 0 and since_burn_in % config.runtime.teacher_cycle == 0


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


def _look(links: TeacherLinks, store: Store, watch: Watch) -> dict[str, Any]:
    pulse = watch.look()[STUDENT_PEER]
    end = links.end.reason() if links.end else ""
    watch.require(STUDENT_PEER)
    return {
        "end": end,
        "left": pulse is not None and pulse.phase == DONE,
        "words": json.loads(store.get(ASKED) or b"null"),
    }
