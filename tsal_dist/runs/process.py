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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.groups import RoleGroup, in_turn, join_role, leave_role, losing_peers, open_store
from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat
from tsal_dist.errors import ConfigError, ExchangeError, ExitCode, PeerLost, TsalError
from tsal_dist.exchange.beat import DONE, Heart, Peer, Watch
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure, begin_tenure
from tsal_dist.inference.evaluation import Evaluator
from tsal_dist.observe.log import start_logging
from tsal_dist.observe.progress import Progress
from tsal_dist.observe.sinks import Sink, open_sinks
from tsal_dist.pseudo.planner import Planner
from tsal_dist.roles.inline import run_inline
from tsal_dist.roles.lockstep import Caller, check_seats, run_lockstep_teacher
from tsal_dist.roles.student import Student
from tsal_dist.roles.student_loop import STUDENT_PEER, TEACHER_PEER, Peers, run_student
from tsal_dist.roles.student_upkeep import StudentUpkeep
from tsal_dist.roles.teacher import Teacher
from tsal_dist.roles.teacher_loop import TeacherLinks, run_teacher
from tsal_dist.run import Mode, Run, open_run, pin_shards
from tsal_dist.run_dir import write_whole
from tsal_dist.runs.build import (
    GATE_FRAMES,
    RoleRank,
    build_evaluator,
    build_model,
    build_student,
    build_teacher,
    check_water,
)
from tsal_dist.runs.build_feedback import build_notes
from tsal_dist.runs.open_data import Shards, open_data
from tsal_dist.runs.other_runs import check_sources
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.publish import WeightPublisher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessContext:
    """What every part of this process's story needs."""

    run: Run
    seat: Seat
    role_rank: RoleRank
    shards: Shards
    store: PosixStore
    tenures: Mapping[str, Tenure]
    """This process's turn, by role; inline it plays both."""

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def leads(self) -> bool:
        """Whether this is rank 0 of its role."""
        return self.role_rank.rank == 0

    def require_current(self) -> None:
        """Raise StaleRun where a successor of this process has started: it must touch nothing more."""
        for tenure in self.tenures.values():
            tenure.require()


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
    tenures: dict[str, Tenure] = {}
    try:
        with StopFlag() as stop, losing_peers(group):
            context = _open_context(run, seat, group)
            tenures |= context.tenures
            code = _play(context, stop)
            reason = stop.reason or "the last step was reached"
    except TsalError as error:
        code, reason = error.exit_code, str(error)
        raise
    finally:
        # Whose turn is over says nothing: the note is its successor's.
        if not any(tenure.over for tenure in tenures.values()):
            _leave_note(run, seat, code, reason, environment.restart_count)
        leave_role()
    return code


def _open_context(run: Run, seat: Seat, group: RoleGroup) -> ProcessContext:
    limits = run.config.runtime.deadlines
    shards = open_data(run.config)
    when_there_is_room(lambda: pin_shards(run.dir, shards.fingerprints), limits)
    store = PosixStore(run.dir.root)
    roles = ("teacher", "student") if seat.role == "inline" else (seat.role,)
    tenures = {
        role: when_there_is_room(partial(begin_tenure, store, role, seat.rank, run.id), limits)
        for role in roles
    }
    return ProcessContext(run, seat, RoleRank(group.rank, group.world, group.device), shards, store, tenures)


def _play(context: ProcessContext, stop: StopFlag) -> ExitCode:
    with ExitStack() as leaving:
        heart = Heart(
            context.store, context.seat.role, context.seat.rank, _teller(context), socket.gethostname()
        )
        limits = context.config.runtime.deadlines
        when_there_is_room(partial(heart.beat, "start", 0), limits)
        end = RunEnd(context.store, limits)
        has_teacher = context.config.has_teacher
        if context.seat.role == "teacher":
            handshake = _greet(context, "teacher") if context.leads else None
            if handshake:
                # Only a run that has ended has a reason to end, and then nobody may be there to be met.
                _meet(context, handshake, STUDENT_PEER, lambda: stop.requested or bool(end.reason()))
            links = _teacher_links(context, heart, handshake, end, leaving)
            links.resume(_student_step(context))
            if context.config.runtime.lockstep:
                code = run_lockstep_teacher(links, context.store, stop)
            else:
                code = run_teacher(links, stop)
        else:
            peers = Peers(heart, context.require_current, None, end if context.leads else None)
            if has_teacher and context.leads and context.seat.role == "student":
                _find_peers(context, peers, end, stop)
            student, upkeep = _student(context, leaving)
            upkeep.sign_of_life = partial(_show_life, peers, student)
            if context.seat.role == "inline":
                beside = _teacher_links(context, heart, None, end, leaving) if has_teacher else None
                code = run_inline(student, upkeep, peers, beside, stop)
            else:
                code = run_student(student, upkeep, peers, stop)
        when_there_is_room(partial(heart.beat, DONE, 0), limits)
        return code


def _teller(context: ProcessContext) -> int:
    """The incarnation that this process's heartbeat and notes carry; inline, its teacher's."""
    return next(iter(context.tenures.values())).incarnation


def _show_life(peers: Peers, student: Student, phase: str) -> None:
    """Beat, and move the queue's cursor: teachers park at one that stands still."""
    peers.tick(phase, student.step_number)
    if isinstance(student.planner, Planner):
        student.planner.tick()


def _find_peers(context: ProcessContext, peers: Peers, end: RunEnd, stop: StopFlag) -> None:
    """Meet the teacher, before either side builds its parts: where something is compiled that takes minutes.

    A run that had a teacher before goes on without: it may come back, or not. One that has ended meets nobody.
    """
    saved = _student_step(context)
    if (saved or 0) >= context.config.train.steps:
        return
    end.announce("")
    peers.handshake = _greet(context, "student")
    peers.watch = Watch(context.store, [TEACHER_PEER], context.config.runtime.deadlines.silent_s)
    lockstep = context.config.runtime.lockstep
    if lockstep:
        peers.schedule = Caller(context.store, context.config, peers, stop)
    try:
        _meet(context, peers.handshake, TEACHER_PEER, lambda: stop.requested)
    except PeerLost as lost:
        if saved is None or lockstep or context.config.runtime.queue.on_starvation == "abort":
            raise
        log.warning("going on without a teacher: %s", lost)


def _greet(context: ProcessContext, role: str) -> Handshake:
    return when_there_is_room(
        lambda: Handshake(context.store, role, 0, context.run.id, context.shards.fingerprints),
        context.config.runtime.deadlines,
    )


def _meet(context: ProcessContext, handshake: Handshake, peer: Peer, give_up: Callable[[], bool]) -> None:
    limits = context.config.runtime.deadlines
    handshake.meet([peer], limits.silent_s, limits.poll_s, give_up)


def _student(context: ProcessContext, leaving: ExitStack) -> tuple[Student, StudentUpkeep]:
    """This rank of the student, with its upkeep."""
    config, run, role_rank = context.config, context.run, context.role_rank
    student = build_student(config, run, context.shards, role_rank, context.tenures["student"].incarnation)
    leaving.callback(student.close)
    student.notes = build_notes(
        config, run, context.shards.unlabelled, context.seat.role, role_rank.rank, _teller(context)
    )
    checkpoints = _checkpoints(context, "student")
    publisher = None
    if config.has_teacher and context.leads:
        publisher = WeightPublisher(
            run.dir.weights("student"),
            config.train.recipe,
            config.runtime.weights.keep,
            context.tenures["student"],
            config.runtime.deadlines,
        )
    upkeep = StudentUpkeep(
        student=student,
        judged=build_model(config).to(role_rank.device),
        checkpoints=checkpoints,
        publisher=publisher,
        sink=_sink(context, "student"),
        validation=build_evaluator(config, context.shards.validation, role_rank.device)
        if context.shards.validation
        else None,
        gate=_gate(context),
        wait_for_disk=config.takes_turns,
        progress=leaving.enter_context(Progress(run.dir)) if context.leads else None,
    )
    leaving.callback(upkeep.close)
    return student, upkeep


def _teacher_links(
    context: ProcessContext, heart: Heart, handshake: Handshake | None, end: RunEnd, leaving: ExitStack
) -> TeacherLinks:
    """This rank of the teacher, with its connections."""
    config, run, role_rank = context.config, context.run, context.role_rank
    inline, alone = context.seat.role == "inline", config.runtime.topology == "detached"
    in_turns = config.takes_turns
    per_call = (
        config.train.unlabelled_batch * config.runtime.teacher_cycle
        if in_turns
        else config.runtime.queue.segment_rows
    )
    teacher: Teacher = build_teacher(
        config,
        run,
        context.shards,
        role_rank,
        context.tenures["teacher"],
        clips_per_cycle=max(1, per_call // config.data.clip_frames),
        limited=not in_turns,
    )
    leaving.callback(teacher.close)
    return TeacherLinks(
        teacher=teacher,
        judged=build_model(config).to(role_rank.device),
        gate=_gate(context),
        weights=WeightReader(run.dir.weights("student")),
        checkpoints=_checkpoints(context, "teacher"),
        heart=heart,
        require_current=context.require_current,
        handshake=handshake,
        end=end if context.leads and not inline else None,
        sink=_sink(context, "teacher"),
        progress=leaving.enter_context(Progress(run.dir)) if alone and context.leads else None,
    )


def _gate(context: ProcessContext) -> Evaluator:
    """A few held-out frames, or training labels where none are held out."""
    shards: ShardSet = context.shards.validation or context.shards.labelled
    return build_evaluator(context.config, shards, context.role_rank.device, GATE_FRAMES)


def _checkpoints(context: ProcessContext, role: str) -> Checkpoints:
    config = context.config
    identity = {
        "recipe": config.train.recipe,
        "detector": config.model.detector,
        "points": config.model.num_points,
        **context.shards.fingerprints,
        "run": context.run.id,
    }
    return Checkpoints(
        context.run.dir.checkpoints(role),
        identity,
        config.runtime.checkpoint.keep,
        context.role_rank.rank,
        context.role_rank.world,
        tenure=context.tenures.get(role) if context.leads else None,
        limits=config.runtime.deadlines,
    )


def _sink(context: ProcessContext, role: str) -> Sink | None:
    return (
        open_sinks(context.run.dir, role, context.config.runtime.log.tensorboard) if context.leads else None
    )


def _student_step(context: ProcessContext) -> int | None:
    """The step the student resumes from; its checkpoints are the run's clock."""
    return _checkpoints(context, "student").latest_committed()


def _leave_note(run: Run, seat: Seat, code: ExitCode, reason: str, attempt: int) -> None:
    if seat.rank == 0:
        note = {"code": int(code), "reason": reason, "attempt": attempt}
        path = run.dir.exit_note("student" if seat.role == "inline" else seat.role)
        try:
            when_there_is_room(
                lambda: write_whole(path, json.dumps(note).encode()), run.config.runtime.deadlines
            )
        except ExchangeError as error:
            log.warning("no note says how this ended: %s", error)
