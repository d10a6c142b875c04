"""One process's part in a run, from its first file to its last: open, join, meet, train, say how it ended.

open     the run directory; the first process makes it, the others take it up
join     this role's own world; no collective ever spans roles
meet     the other role, through files that both must see
train    the role's loop
leave    an exit note for the launcher; the group torn down, where no dead peer can hold that up
"""

import logging
import socket
import sys
from contextlib import ExitStack
from functools import partial

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.clock import MonotonicClock
from tsal_dist.config import RunConfig
from tsal_dist.data.spot_check import SpotCheck
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.groups import RoleGroup, in_turn, join_role, leave_role, losing_peers, open_launch_store
from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat
from tsal_dist.engine.inference import Inference
from tsal_dist.engine.numerics import set_numerics
from tsal_dist.errors import ConfigError, ExitCode, PeerLost, TsalError
from tsal_dist.exchange.beat import PER_SILENCE, Heart, Peer, Watch, list_crews
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure, begin_tenure
from tsal_dist.inference.evaluation import build_evaluator
from tsal_dist.models.detectors import stride_of
from tsal_dist.observe.display import Display
from tsal_dist.observe.log import start_logging
from tsal_dist.observe.memory import read_memory
from tsal_dist.observe.sinks import Sink, open_sinks
from tsal_dist.pseudo.credits import check_limits
from tsal_dist.roles.inline import Beside
from tsal_dist.roles.lockstep import Caller, check_seats, resume_point, run_lockstep_teacher
from tsal_dist.roles.peers import (
    STUDENT_PEER,
    TEACHER_PEER,
    NoTeacher,
    Peers,
    SignOfLife,
    WatchedTeachers,
)
from tsal_dist.roles.plan_finder import PlanFinder
from tsal_dist.roles.student import Student
from tsal_dist.roles.student_loop import OwnPace, Schedule, StudentLoop
from tsal_dist.roles.student_upkeep import StudentUpkeep
from tsal_dist.roles.teacher import Teacher
from tsal_dist.roles.teacher_loop import TeacherLinks, run_teacher
from tsal_dist.run import Mode, Run, open_run, pin_shards
from tsal_dist.run_dir import DONE, role_in_files
from tsal_dist.runs.begin import begin, open_whole
from tsal_dist.runs.build import build_student, build_teacher, settle_method
from tsal_dist.runs.build_feedback import build_notes
from tsal_dist.runs.build_nets import build_member, build_model
from tsal_dist.runs.build_staleness import goes_by_headroom
from tsal_dist.runs.build_streams import RoleRank
from tsal_dist.runs.exit_note import leave_note
from tsal_dist.runs.follow_shards import follow_shards
from tsal_dist.runs.fork import begin_at
from tsal_dist.runs.meeting import await_meeting, meet, tell_of_meeting
from tsal_dist.runs.other_runs import check_sources
from tsal_dist.runs.process_context import ProcessContext
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.publish import WeightPublisher

log = logging.getLogger(__name__)


def train(
    config: RunConfig, environment: Environment, seats: tuple[Seat, ...], mode: Mode, stop: StopFlag
) -> ExitCode:
    """Play this process's part. The exit code says whether the run is done."""
    stop.leave_if_asked()
    config = settle_method(config)
    if environment.agent_store:
        die_with_parent()  # a worker whose torchrun was killed saves and leaves; nobody else would ever end it
    config = follow_shards(config)
    seat = seats[environment.rank]
    if config.runtime.topology == "detached" and mode == "clean":
        raise ConfigError(
            "--clean with runtime.topology=detached: two launches that share a run cannot agree on when to delete it. "
            "Remove the folder first, or let `python -m launch.local` do it."
        )
    teachers = sum(other.role == "teacher" for other in seats)
    check_sources(config, len(seats) - teachers)
    if teachers:
        _check_water(config, len(seats) - teachers, teachers)
        if config.runtime.lockstep:
            check_seats(len(seats) - teachers, teachers)
    limits = config.runtime.deadlines
    store = open_launch_store(environment, limits.group_s)
    with in_turn(environment, store, limits.group_s, stop):
        # A restart by torchrun goes on with what the attempt before has saved.
        again = environment.restart_count > 0 or environment.rank > 0 or seat.role == "teacher"
        mode = "resume" if again else mode
        run = open_run(config, mode, partial(begin, config, environment, seat, mode), stop.leave_if_asked)
    code = ExitCode.FAILED
    reason = "a defect"
    tenures: dict[str, Tenure] = {}
    group: RoleGroup | None = None
    try:
        set_numerics(config.runtime.numerics)
        group = join_role(environment, seat, store, limits.group_s, stop)
        # On a terminal that both roles share, the student's view shows the teacher's part as well.
        quiet = seat.role == "teacher" and config.runtime.topology == "split" and sys.stderr.isatty()
        start_logging(run.dir, seat.name, seat.rank, environment.restart_count, quiet=quiet)
        with losing_peers(group):
            if stop.agreed():
                stop.leave_if_asked()
            context = _open_context(run, seat, group, environment.local_rank == 0)
            tenures |= context.tenures
            code = _play(context, stop)
            reason = stop.reason or "the last step was reached"
    except TsalError as error:
        code, reason = error.exit_code, str(error)
        raise
    finally:
        leave_note(run, seat, tenures.values(), code, reason, environment.restart_count)
        # After an error a peer may be dead, and NCCL would wait for its part in a collective for ever: no error would be
        # told, and no process end. Its end frees what the group holds.
        if code in (ExitCode.DONE, ExitCode.REQUEUE) or (group and group.device.type == "cpu"):
            leave_role()
    return code


def _open_context(run: Run, seat: Seat, group: RoleGroup, first_here: bool) -> ProcessContext:
    """`first_here`: whether this is the first process of its launch on this machine."""
    limits = run.config.runtime.deadlines
    role_rank = RoleRank(group.rank, group.world, group.device, seat.crew)
    shards = open_whole(run, seat, role_rank.rank)
    when_there_is_room(lambda: pin_shards(run.dir, shards.fingerprints), limits)
    store = PosixStore(run.dir.root)
    tenures = {
        role: when_there_is_room(
            partial(begin_tenure, store, role_in_files(role, seat.crew), seat.rank, run.id), limits
        )
        for role in (("teacher", "student") if seat.role == "inline" else (seat.role,))
    }
    clock = MonotonicClock()
    spot_check = SpotCheck(shards.opened, run.config.data.spot_check_mb_s if first_here else 0, clock)
    return ProcessContext(run, seat, role_rank, shards, store, tenures, clock, spot_check)


def _check_water(config: RunConfig, students: int, teachers: int) -> None:
    """Refuse limits under which both roles could wait for each other."""
    queue, train = config.runtime.queue, config.train
    check_limits(
        low_rows=queue.low_water_rows,
        segment_rows=queue.segment_rows,
        plan_rows=train.unlabelled_batch * students,
        producers=teachers,
        unit=config.data.clip_frames,
    )


def _play(context: ProcessContext, stop: StopFlag) -> ExitCode:
    with ExitStack() as leaving:
        heart = Heart(
            context.store,
            context.seat.name,
            context.seat.rank,
            context.teller,
            socket.gethostname(),
            read_memory,
        )
        limits = context.config.runtime.deadlines
        when_there_is_room(partial(heart.beat, "start", 0), limits)
        leaving.enter_context(context.spot_check)
        life = SignOfLife(heart, context.require_current, context.clock, context.beat_every_s)
        act = _be_teacher if context.seat.role == "teacher" else _be_student
        code = act(context, life, stop, leaving)
        when_there_is_room(partial(heart.beat, DONE, 0), limits)
        return code


def _be_teacher(context: ProcessContext, life: SignOfLife, stop: StopFlag, leaving: ExitStack) -> ExitCode:
    end = RunEnd(context.store, context.config.runtime.deadlines)
    handshake = context.greet() if context.leads else None
    if handshake:
        limits = context.config.runtime.deadlines

        def give_up() -> bool:
            # Only a run that has ended has a reason to end, and then nobody may be there to be met.
            return stop.requested or bool(end.reason())

        meet(handshake, STUDENT_PEER, limits.meet_s, limits, context.clock, give_up)
    else:
        await_meeting()
    links = _teacher_links(context, life, handshake, end if context.leads else None, leaving)
    links.resume(_student_step(context))
    if context.config.runtime.lockstep:
        return run_lockstep_teacher(links, context.store, stop)
    return run_teacher(links, stop)


def _be_student(context: ProcessContext, life: SignOfLife, stop: StopFlag, leaving: ExitStack) -> ExitCode:
    """Also inline, with the teacher beside it."""
    end = RunEnd(context.store, context.config.runtime.deadlines) if context.leads else None
    schedule: Schedule = OwnPace()
    peers: Peers = NoTeacher(life, end)
    has_teacher, inline = context.config.has_teacher, context.seat.role == "inline"
    if has_teacher and not inline:
        if not end:
            await_meeting()
        elif (_student_step(context) or 0) < context.config.train.steps:
            peers, schedule = _meet_teacher(context, life, end, stop)
        else:
            tell_of_meeting(True)
    student, upkeep = _student(context, peers, leaving)
    if has_teacher and inline:
        schedule = Beside(_teacher_links(context, life, None, None, leaving))
    finder = None
    if student.planner:
        finder = PlanFinder(student.planner, context.config, student.world, peers, stop, clock=context.clock)
    return StudentLoop(student, upkeep, peers, schedule, finder, stop).run()


def _meet_teacher(
    context: ProcessContext, life: SignOfLife, end: RunEnd, stop: StopFlag
) -> tuple[Peers, Schedule]:
    """Meet it before either side builds its parts: where something is compiled that takes minutes.

    A run that had a teacher before goes on without: it may come back, or not.
    """
    end.announce("")
    config, store = context.config, context.store
    handshake = context.greet()
    find = partial(list_crews, store, "teacher")
    list_every_s = config.runtime.deadlines.silent_s / PER_SILENCE
    watch = _watch(context, TEACHER_PEER)
    peers = WatchedTeachers(life, end, handshake, watch, find, context.clock, list_every_s)
    lockstep = config.runtime.lockstep
    schedule = Caller(store, config, peers, context.clock, stop) if lockstep else OwnPace()
    limits, abort = config.runtime.deadlines, config.runtime.queue.on_starvation == "abort"
    needs_one = _student_step(context) is None or lockstep or abort
    wait_s = limits.meet_s if needs_one else limits.silent_s
    try:
        meet(handshake, TEACHER_PEER, wait_s, limits, context.clock, lambda: stop.requested, find)
    except PeerLost as lost:
        if needs_one:
            raise
        log.warning("going on without a teacher: %s", lost)
    return peers, schedule


def _show_life(peers: Peers, student: Student, phase: str) -> None:
    """Beat, and move the queue's cursor: teachers park at one that stands still."""
    peers.tick(phase, student.step_number)
    if student.planner:
        student.planner.tick()


def _watch(context: ProcessContext, peer: Peer) -> Watch:
    """The heartbeat of rank 0 of the other role."""
    limits = context.config.runtime.deadlines
    return when_there_is_room(
        lambda: Watch(context.store, [peer], limits.silent_s, context.clock.now_s), limits
    )


def _student(context: ProcessContext, peers: Peers, leaving: ExitStack) -> tuple[Student, StudentUpkeep]:
    """This rank of the student, with its upkeep."""
    config, run, role_rank = context.config, context.run, context.role_rank
    clips, turn = context.shards.unlabelled, context.tenures["student"]
    notes = build_notes(config, run, clips, context.seat.role, role_rank.rank, context.teller)
    student = build_student(config, run, context.shards, role_rank, notes, turn.incarnation)
    leaving.callback(student.close)
    checkpoints = _checkpoints(context, "student")
    publisher = None
    if config.has_teacher and context.leads:
        publisher = WeightPublisher(
            run.dir.weights("student"),
            config.method.name,
            config.runtime.weights.keep,
            turn,
            config.runtime.deadlines,
        )
    upkeep = StudentUpkeep(
        student=student,
        judged=Inference(build_model(config), config.runtime.student, role_rank.device),
        checkpoints=checkpoints,
        publisher=publisher,
        sink=_sink(context, "student"),
        validation=build_evaluator(config, context.shards.validation, role_rank.device)
        if context.shards.validation
        else None,
        gate_frames=context.gate_frames,
        learnt_frames=context.learnt_frames,
        by_headroom=goes_by_headroom(config, student.recipe),
        newest_step=_newest_step(context),
        wait_for_disk=config.takes_turns,
        display=leaving.enter_context(Display(run.dir)) if context.leads else None,
        begin=partial(begin_at, run.origin),
        sign_of_life=partial(_show_life, peers, student),
        require_sound_shards=context.spot_check.require,
    )
    leaving.callback(upkeep.close)
    return student, upkeep


def _teacher_links(
    context: ProcessContext,
    life: SignOfLife,
    handshake: Handshake | None,
    end: RunEnd | None,
    leaving: ExitStack,
) -> TeacherLinks:
    """This rank of the teacher, with its connections."""
    config, run, role_rank = context.config, context.run, context.role_rank
    alone, in_turns = config.runtime.topology == "detached", config.takes_turns
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
    sink = _sink(context, "teacher")
    if sink:
        leaving.callback(sink.close)
    judged = build_member(config, next(iter(teacher.recipe.panel.values())))
    return TeacherLinks(
        teacher=teacher,
        judged=Inference(judged, config.runtime.teacher, role_rank.device),
        gate_frames=context.gate_frames.at(stride_of(judged)),
        weights=WeightReader(run.dir.weights("student")),
        checkpoints=_checkpoints(context, "teacher"),
        clock=context.clock,
        life=life,
        require_current=context.require_current,
        student=None if in_turns else _watch(context, STUDENT_PEER),
        handshake=handshake,
        end=end,
        sink=sink,
        display=leaving.enter_context(Display(run.dir)) if alone and context.leads else None,
    )


def _checkpoints(context: ProcessContext, role: str) -> Checkpoints:
    config = context.config
    identity = {
        "recipe": config.method.name,
        "detector": config.model.detector,
        "points": config.model.num_points,
        **context.shards.fingerprints,
        "run": context.run.id,
    }
    return Checkpoints(
        context.run.dir.checkpoints(context.in_files(role)),
        identity,
        config.runtime.checkpoint.keep,
        context.role_rank.rank,
        context.role_rank.world,
        tenure=context.tenures.get(role) if context.leads else None,
        limits=config.runtime.deadlines,
    )


def _sink(context: ProcessContext, role: str) -> Sink | None:
    return (
        open_sinks(context.run.dir, context.in_files(role), context.config.runtime.log)
        if context.leads
        else None
    )


def _student_step(context: ProcessContext) -> int | None:
    """The step the student resumes from; its checkpoints are the run's clock."""
    student = _checkpoints(context, "student")
    if context.config.runtime.lockstep:
        return resume_point(context.config, student, _checkpoints(context, "teacher"))
    return student.latest_committed()


def _newest_step(context: ProcessContext) -> int | None:
    """Where two roles keep step, the student resumes from where both can."""
    if not context.config.runtime.lockstep:
        return None
    step = _student_step(context)
    return -1 if step is None else step
