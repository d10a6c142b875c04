"""One process's part in a run, from its first file to its last: open, join, meet, train, say how it ended.

open     the run directory; the first process makes it, the others take it up
join     this role's own world; no collective ever spans roles
meet     the other role, through files that both must see
train    the role's loop
leave    an exit note for the launcher, the group torn down
"""

import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.groups import RoleGroup, in_turn, join_role, leave_role, losing_peers, open_store
from tsal_dist.dist.kinship import die_with_parent
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat
from tsal_dist.errors import ConfigError, ExitCode, PeerLost, TsalError
from tsal_dist.exchange.beat import DONE, Heart, Peer, Watch
from tsal_dist.exchange.fence import Handshake, check_current, claim_incarnation
from tsal_dist.exchange.fence import StopFlag as RunEnd
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.loops.build import (
    GATE_FRAMES,
    Place,
    Shards,
    build_evaluator,
    build_model,
    build_student,
    build_teacher,
    check_water,
    open_data,
)
from tsal_dist.loops.build_feedback import build_notes
from tsal_dist.loops.duties import Duties
from tsal_dist.loops.evaluation import Evaluator
from tsal_dist.loops.inline import run_inline
from tsal_dist.loops.lockstep import Caller, check_seats, run_lockstep_teacher
from tsal_dist.loops.open_run import Mode, Run, open_run
from tsal_dist.loops.second_hand import check_sources
from tsal_dist.loops.student import Student
from tsal_dist.loops.student_run import STUDENT_PEER, TEACHER_PEER, Company, run_student
from tsal_dist.loops.teacher import Teacher
from tsal_dist.loops.teacher_run import Post, run_teacher
from tsal_dist.observe.log import start_logging
from tsal_dist.observe.progress import Progress
from tsal_dist.observe.sinks import Sink, open_sinks
from tsal_dist.pseudo.planner import Planner
from tsal_dist.run_dir import write_whole
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.publish import WeightPublisher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """What every part of this process's story needs."""

    run: Run
    seat: Seat
    place: Place
    shards: Shards
    store: PosixStore
    incarnation: int

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def leads(self) -> bool:
        """Whether this is rank 0 of its role."""
        return self.place.rank == 0

    def require_current(self) -> None:
        """Raise StaleRun where a successor of this process has started: it must touch nothing more."""
        check_current(self.store, _claimed_role(self.seat), self.seat.rank, self.incarnation)


def train(config: RunConfig, environment: Environment, seats: tuple[Seat, ...], mode: Mode) -> ExitCode:
    """Play this process's part. The exit code says whether the run is done."""
    if environment.agent_store:
        die_with_parent()  # a worker whose torchrun was killed saves and leaves; nobody else would ever end it
    seat = seats[environment.rank]
    if config.runtime.topology == "detached" and mode == "clean":
        raise ConfigError(
            "--clean with runtime.topology=detached: two launches that share a run cannot agree on when to delete it. "
            "Remove the folder first, or let `python -m launch.local` do it."
        )
    teachers = sum(other.role == "teacher" for other in seats)
    check_sources(config, len(seats) - teachers)
    if teachers:
        check_water(config, len(seats) - teachers, teachers)
        if config.runtime.lockstep:
            check_seats(len(seats) - teachers, teachers)
    limits = config.runtime.deadlines
    store = open_store(environment, limits.group_s)
    with in_turn(environment, store, limits.group_s):
        # A restart by torchrun goes on with what the attempt before has saved.
        again = environment.restart_count > 0 or environment.rank > 0 or seat.role == "teacher"
        run = open_run(config, "resume" if again else mode)
    group = join_role(environment, seat, store, limits.group_s)
    # On a terminal that both roles share, the student's view shows the teacher's part as well.
    quiet = seat.role == "teacher" and config.runtime.topology == "split" and sys.stderr.isatty()
    start_logging(run.dir, seat.role, seat.rank, environment.restart_count, quiet=quiet)
    code = ExitCode.FAILED
    reason = "a defect"
    try:
        with StopFlag() as stop, losing_peers(group), _stage(run, seat, group) as stage:
            code = _play(stage, stop)
            reason = stop.reason or "the last step was reached"
    except TsalError as error:
        code, reason = error.exit_code, str(error)
        raise
    finally:
        _leave_note(run, seat, code, reason, environment.restart_count)
        leave_role()
    return code


@contextmanager
def _stage(run: Run, seat: Seat, group: RoleGroup) -> Iterator[Stage]:
    store = PosixStore(run.dir.root)
    place = Place(group.rank, group.world, group.device)
    incarnation = claim_incarnation(store, _claimed_role(seat), seat.rank)
    yield Stage(run, seat, place, open_data(run.config), store, incarnation)


def _claimed_role(seat: Seat) -> str:
    """Inline, the claim is for the directory that its teacher writes labels into."""
    return "teacher" if seat.role == "inline" else seat.role


def _play(stage: Stage, stop: StopFlag) -> ExitCode:
    with ExitStack() as leaving:
        heart = Heart(stage.store, stage.seat.role, stage.seat.rank, stage.incarnation, socket.gethostname())
        heart.beat("start", 0)
        end = RunEnd(stage.store)
        has_teacher = stage.config.has_teacher
        if stage.seat.role == "teacher":
            handshake = Handshake(stage.store, "teacher", 0, stage.run.id) if stage.leads else None
            if handshake:
                # Only a run that has ended has a reason to end, and then nobody may be there to be met.
                _meet(stage, handshake, STUDENT_PEER, lambda: stop.requested or bool(end.reason()))
            post = _post(stage, heart, handshake, end, leaving)
            post.resume(_student_step(stage))
            if stage.config.runtime.lockstep:
                code = run_lockstep_teacher(post, stage.store, stop)
            else:
                code = run_teacher(post, stop)
        else:
            company = Company(heart, stage.require_current, None, end if stage.leads else None)
            if has_teacher and stage.leads and stage.seat.role == "student":
                _find_company(stage, company, end, stop)
            student, duties = _student(stage, leaving)
            duties.sign_of_life = partial(_show_life, company, student)
            if stage.seat.role == "inline":
                beside = _post(stage, heart, None, end, leaving) if has_teacher else None
                code = run_inline(student, duties, company, beside, stop)
            else:
                code = run_student(student, duties, company, stop)
        heart.beat(DONE, 0)
        return code


def _show_life(company: Company, student: Student, phase: str) -> None:
    """Beat, and move the queue's cursor: teachers park at one that stands still."""
    company.tick(phase, student.step_number)
    if isinstance(student.planner, Planner):
        student.planner.tick()


def _find_company(stage: Stage, company: Company, end: RunEnd, stop: StopFlag) -> None:
    """Meet the teacher, before either side builds its parts: where something is compiled that takes minutes.

    A run that had a teacher before goes on without: it may come back, or not. One that has ended meets nobody.
    """
    saved = _student_step(stage)
    if (saved or 0) >= stage.config.train.steps:
        return
    end.announce("")
    company.handshake = Handshake(stage.store, "student", 0, stage.run.id)
    company.watch = Watch(stage.store, [TEACHER_PEER], stage.config.runtime.deadlines.silent_s)
    lockstep = stage.config.runtime.lockstep
    if lockstep:
        company.schedule = Caller(stage.store, stage.config, company, stop)
    try:
        _meet(stage, company.handshake, TEACHER_PEER, lambda: stop.requested)
    except PeerLost as lost:
        if saved is None or lockstep or stage.config.runtime.queue.on_starvation == "abort":
            raise
        log.warning("going on without a teacher: %s", lost)


def _meet(stage: Stage, handshake: Handshake, peer: Peer, give_up: Callable[[], bool]) -> None:
    limits = stage.config.runtime.deadlines
    handshake.meet([peer], limits.silent_s, limits.poll_s, give_up)


def _student(stage: Stage, leaving: ExitStack) -> tuple[Student, Duties]:
    """This rank of the student, with its duties."""
    config, run, place = stage.config, stage.run, stage.place
    student = build_student(config, run, stage.shards, place)
    leaving.callback(student.close)
    student.notes = build_notes(config, run, stage.seat.role, place.rank, stage.incarnation)
    checkpoints = _checkpoints(stage, "student")
    publisher = None
    if config.has_teacher and stage.leads:
        publisher = WeightPublisher(
            run.dir.weights("student"),
            config.train.recipe,
            config.runtime.weights.keep,
            checkpoints.latest_committed() or 0,
        )
    duties = Duties(
        student=student,
        judged=build_model(config).to(place.device),
        checkpoints=checkpoints,
        publisher=publisher,
        sink=_sink(stage, "student"),
        validation=build_evaluator(config, stage.shards.validation, place.device)
        if stage.shards.validation
        else None,
        gate=_gate(stage),
        wait_for_disk=config.takes_turns,
        progress=leaving.enter_context(Progress(run.dir)) if stage.leads else None,
    )
    leaving.callback(duties.close)
    return student, duties


def _post(stage: Stage, heart: Heart, handshake: Handshake | None, end: RunEnd, leaving: ExitStack) -> Post:
    """This rank of the teacher, with its connections."""
    config, run, place = stage.config, stage.run, stage.place
    inline, alone = stage.seat.role == "inline", config.runtime.topology == "detached"
    in_turns = config.takes_turns
    per_call = (
        config.train.unlabelled_batch * config.runtime.teacher_cycle
        if in_turns
        else config.runtime.queue.segment_rows
    )
    teacher: Teacher = build_teacher(
        config,
        run,
        stage.shards,
        place,
        stage.incarnation,
        clips_per_cycle=max(1, per_call // config.data.clip_frames),
        limited=not in_turns,
    )
    leaving.callback(teacher.close)
    return Post(
        teacher=teacher,
        judged=build_model(config).to(place.device),
        gate=_gate(stage),
        weights=WeightReader(run.dir.weights("student")),
        checkpoints=_checkpoints(stage, "teacher"),
        heart=heart,
        require_current=stage.require_current,
        handshake=handshake,
        end=end if stage.leads and not inline else None,
        sink=_sink(stage, "teacher"),
        progress=leaving.enter_context(Progress(run.dir)) if alone and stage.leads else None,
    )


def _gate(stage: Stage) -> Evaluator:
    """A few held-out frames, or training labels where none are held out."""
    shards: ShardSet = stage.shards.validation or stage.shards.labelled
    return build_evaluator(stage.config, shards, stage.place.device, GATE_FRAMES)


def _checkpoints(stage: Stage, role: str) -> Checkpoints:
    config = stage.config
    identity = {
        "recipe": config.train.recipe,
        "detector": config.model.detector,
        "points": config.model.num_points,
        "labelled": stage.shards.labelled.fingerprint,
        "run": stage.run.id,
    }
    keep = config.runtime.checkpoint.keep
    return Checkpoints(stage.run.dir.checkpoints(role), identity, keep, stage.place.rank, stage.place.world)


def _sink(stage: Stage, role: str) -> Sink | None:
    return open_sinks(stage.run.dir, role, stage.config.runtime.log.tensorboard) if stage.leads else None


def _student_step(stage: Stage) -> int | None:
    """The step the student resumes from; its checkpoints are the run's clock."""
    return _checkpoints(stage, "student").latest_committed()


def _leave_note(run: Run, seat: Seat, code: ExitCode, reason: str, attempt: int) -> None:
    if seat.rank == 0:
        note = {"code": int(code), "reason": reason, "attempt": attempt}
        role = "student" if seat.role == "inline" else seat.role
        write_whole(run.dir.exit_note(role), json.dumps(note).encode())
