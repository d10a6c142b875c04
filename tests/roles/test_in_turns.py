"""Both roles by the fixed schedule, in one process or in two: the same lessons, whoever stops or dies, whenever."""

from functools import cache, partial

import pytest

from tests.fakes_store import FaultyStore, Killed
from tests.roles.small_world import ROWS, Dead, World
from tsal_dist.errors import ExchangeError, ExitCode, PeerLost, StaleRun
from tsal_dist.exchange.memory import MemoryStore

MODES = {
    "inline": ("runtime.topology=inline",),
    "lockstep": ("runtime.topology=split", "runtime.lockstep=true"),
}
CYCLES = ("runtime.teacher_cycle=3", "runtime.weights.publish_every=4", "train.burn_in_steps=5")
"""Cycles that begin between two versions."""
GATED = (*CYCLES, "train.gate.enabled=true")
KINDS = {
    "plain": (),
    "long cycles": CYCLES,
    "gated": GATED,
    "gated, no row twice": (*GATED, "runtime.queue.on_starvation=supervised"),
}


def world_of(mode, kind="plain", *overrides, **kwargs):
    """One whose gate, where there is one, closes for a while."""
    world = World(*MODES[mode], *KINDS[kind], *overrides, **kwargs)
    world.teacher_nme = lambda version: 0.3 if 12 <= version < 24 else 0.1
    return world


def start(world):
    """Both roles, to the student's end; its exit code."""
    if not world.inline:
        world.start_teacher()
    return world.run_student()


def die(error=Killed):
    """The whole machine; or, with `Dead`, the teacher's process alone."""
    raise error


@cache
def undisturbed(mode, kind="plain", *overrides):
    """The lessons of a run in which nothing happens."""
    world = world_of(mode, kind, *overrides)
    assert start(world) == ExitCode.DONE
    world.assert_whole()
    return world.lessons


def test_every_step_has_labels_of_its_own_from_the_newest_version():
    lessons = undisturbed("inline")
    for step in range(4, 40):
        first = (step - 4) * ROWS
        assert lessons[step] == tuple((row, step - step % 2) for row in range(first, first + ROWS)), step
    assert [lessons[step] for step in range(4)] == [()] * 4, "burn-in"


def test_a_cycle_is_labelled_before_its_first_step():
    """By the version that is the newest then, however many come until its last step."""
    lessons = undisturbed("inline", "long cycles")
    assert not any(lessons[step] for step in range(8)), (
        "before step 5 it has no version that is old enough to teach"
    )
    begins = {step: step - (step - 5) % 3 for step in range(8, 40)}
    assert {step: {version for _, version in lessons[step]} for step in begins} == {
        step: {begin - begin % 4} for step, begin in begins.items()
    }
    rows = [row for step in begins for row, _ in lessons[step]]
    assert rows == list(range(32 * ROWS))


def test_a_closed_gate_leaves_cycles_without_labels():
    lessons = undisturbed("inline", "gated, no row twice")
    assert [step for step in range(8, 40) if not lessons[step]] == list(range(14, 26)), (
        "from the first cycle after version 12 on, to the last before version 24"
    )


@pytest.mark.parametrize("policy", ["wait", "abort"])
@pytest.mark.parametrize("mode", MODES)
def test_nobody_waits_for_labels_that_cannot_come_meanwhile(mode, policy):
    """A teacher whose gate is closed has had its turn: it labels no sooner for being waited for."""
    world = world_of(mode, "gated", f"runtime.queue.on_starvation={policy}")
    world.absorb_s = world.label_s = 0.0
    world.evaluate_s = dict.fromkeys(world.evaluate_s, 0.0)
    assert start(world) == ExitCode.DONE
    assert world.clock.now < 40 * world.quick_s + 5.0 + 2.0
    assert world.lessons == undisturbed(mode, "gated, no row twice")


@pytest.mark.parametrize("kind", KINDS)
def test_lockstep_gives_the_lessons_of_inline(kind):
    assert undisturbed("lockstep", kind) == undisturbed("inline", kind)


def test_how_long_either_role_takes_changes_nothing():
    slow = world_of("lockstep", "gated")
    slow.label_s, slow.absorb_s, slow.step_s = 7.0, 3.0, 0.01
    assert start(slow) == ExitCode.DONE
    assert slow.lessons == undisturbed("lockstep", "gated")


@pytest.mark.parametrize("kind", ["plain", "long cycles"])
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_becomes_longer_goes_on_as_if_it_always_had_been(mode, kind):
    """Also from a last step at which nothing else is due."""
    world = world_of(mode, kind, "train.steps=17")
    assert start(world) == ExitCode.DONE
    assert world.student_step() == 17
    world.config = world_of(mode, kind).config
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed(mode, kind)
    world.assert_whole()


# Stops and kills in every phase.

PHASES = {
    "publish": 7,
    "absorb": 6,
    "judge the teacher": 31,
    "judge the student": 31,
    "label": 5,
    "train": 17,
    "save the teacher": 2,
    "save the student": 2,
}
"""What is done, and for which time it is interrupted."""


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_asked_to_stop_in_any_phase_goes_on(mode, phase):
    """Both processes are asked, as by a scheduler."""
    world = world_of(mode, "gated")
    seen = []

    def stop():
        seen.append(phase)
        world.student_stop.request("SIGTERM")
        for teacher in world.teachers:
            teacher.stop.request("SIGTERM")

    world.during(phase, PHASES[phase], stop)
    assert start(world) == ExitCode.REQUEUE
    assert seen == [phase]
    assert world.saved["student"].latest_committed() == len(world.lessons), "not one step is lost"
    assert [teacher.code for teacher in world.teachers] in ([], [ExitCode.REQUEUE])
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed(mode, "gated")
    world.assert_whole()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_in_any_phase_goes_on(mode, phase):
    """With the whole machine: what was not saved is lost, in both roles."""
    world = world_of(mode, "gated")

    world.during(phase, PHASES[phase], die)
    with pytest.raises(Killed):
        start(world)
    for teacher in world.teachers:
        world.kill(teacher)
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed(mode, "gated")
    world.assert_whole()


@pytest.mark.parametrize("at", [3.3, 6.6, 11.1, 17.7, 23.2])
def test_a_student_alone_that_is_asked_to_stop_takes_its_teacher_along(at):
    world = world_of("lockstep")
    world.clock.at(at, lambda: world.student_stop.request("SIGTERM"))
    assert start(world) == ExitCode.REQUEUE
    assert [teacher.code for teacher in world.teachers] == [ExitCode.REQUEUE]
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed("lockstep")


@pytest.mark.parametrize("phase", ["wait for the student", "absorb", "label", "save the teacher"])
def test_a_teacher_alone_that_is_asked_to_stop_is_named_by_its_student(phase):
    world = world_of("lockstep")
    teacher = world.start_teacher()
    if phase == "wait for the student":
        world.clock.at(0.5, lambda: teacher.stop.request("SIGTERM"))
    else:
        world.during(phase, 1, lambda: teacher.stop.request("SIGTERM"))
    with pytest.raises(PeerLost, match=r"waits for the teacher to (teach|save).*teacher 0 has left"):
        world.run_student()
    assert teacher.code == ExitCode.REQUEUE
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed("lockstep")


@pytest.mark.parametrize("kind", ["plain", "long cycles"])
@pytest.mark.parametrize("time", [3, 5, 7, 8])
def test_where_only_the_student_could_save_both_go_on_from_where_both_can(kind, time):
    """A teacher that is killed, and a launcher that asks the student to stop for it."""
    world = world_of("lockstep", kind)

    def stop():
        world.student_stop.request("SIGTERM")
        raise Dead

    world.during("label", time, stop)
    assert start(world) == ExitCode.REQUEUE
    stopped = world.saved["student"].latest_committed()
    assert stopped == len(world.lessons)
    assert world.student_step() in (None, 10, 20, 30)
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed("lockstep", kind)
    world.assert_whole()


def test_a_role_that_was_started_again_alone_is_refused():
    """What it computed would be something else, and nobody would know."""
    world = world_of("lockstep")
    world.during("label", 9, partial(die, Dead))
    world.start_teacher(at=25.0)
    with pytest.raises(
        PeerLost, match=r"turn before step 12, and the teacher's last one was before step 9: one of them"
    ):
        start(world)
    world = world_of("lockstep")
    world.during("train", 18, die)
    with pytest.raises(Killed):
        start(world)
    with pytest.raises(PeerLost, match="turn before step 10, and the teacher's last one was before step 17"):
        world.run_student()


# Peers that are late or stay away.


def test_a_teacher_that_is_late_is_waited_for():
    world = world_of("lockstep")
    world.start_teacher(at=25.0)
    assert world.run_student() == ExitCode.DONE
    assert world.clock.now > 25 + 40
    assert world.lessons == undisturbed("lockstep")


def test_a_wait_for_the_teacher_has_a_deadline():
    """Before the first step, at it, and in the middle of a run."""
    world = world_of("lockstep")
    with pytest.raises(PeerLost, match="teacher 0 did not answer within 30 s"):
        world.run_student()
    assert 30 < world.clock.now < 35
    world = world_of("lockstep")
    with pytest.raises(PeerLost, match=r"At step 0 .* to teach, .*: teacher 0 has never been seen"):
        world.student_loop().run()
    assert 30 < world.clock.now < 32
    world = world_of("lockstep")
    world.start_teacher()
    world.during("label", 6, partial(die, Dead))
    with pytest.raises(
        PeerLost, match=r"to teach, .*: teacher 0 gave its last sign of life 30 s ago on host"
    ):
        world.run_student()
    assert len(world.lessons) == 9, "the step whose labels were being made is not taken without them"


def test_a_teacher_waits_for_a_student_that_was_killed_until_the_grace_is_over():
    world = world_of("lockstep")
    world.start_teacher()
    world.during("train", 10, die)
    with pytest.raises(Killed):
        world.run_student()
    died = world.clock.now
    with pytest.raises(
        PeerLost, match=r"student 0 has been silent for 100 s, more than 100 s; last seen on host"
    ):
        world.clock.sleep(500.0)
    assert 99 < world.clock.now - died < 102


def test_a_version_that_a_network_shows_late_is_waited_for():
    """No other may stand in for it; and one that never comes is an error that says where to look."""
    world = world_of("lockstep")
    real = world.versions.versions_since

    def listing(step):
        return [found for found in real(step) if found != 6 or world.clock.now_s() > 29]

    world.versions.versions_since = listing
    assert start(world) == ExitCode.DONE
    assert world.lessons == undisturbed("lockstep")
    world = world_of("lockstep")
    world.versions.versions_since = lambda step: []
    with pytest.raises(ExchangeError, match="version of step 0 is not to be seen 30 s after"):
        start(world)


def test_a_teacher_whose_successor_has_started_touches_nothing():
    world = world_of("lockstep")
    zombie = world.start_teacher()
    made = []

    def freeze():  # SIGSTOP, or a host that hangs
        made.append(zombie.links.teacher.labelled_rows)
        zombie.actor.free_at = 60.0

    world.clock.at(12.5, freeze)
    with pytest.raises(PeerLost, match=r"teacher 0 gave its last sign of life"):
        world.run_student()
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert isinstance(zombie.error, StaleRun)
    assert [zombie.links.teacher.labelled_rows] == made
    assert world.lessons == undisturbed("lockstep")


# Killed at every place where anything is read or written.

PARTS = 24
SHORT = ("train.steps=14", "runtime.checkpoint.every=5")


def whole_run(mode, files, queue):
    """Start again what was killed, until the run is done."""
    world = world_of(mode, "plain", *SHORT, store=files, queue=queue)
    if not world.inline:  # how often either looks for the other while it waits is of no interest
        world.step_s = world.quick_s = world.label_s = world.absorb_s = 0.02
    for _ in range(3):
        try:
            code = start(world)
        except Killed:
            for teacher in world.teachers:
                world.kill(teacher)
            continue
        assert code == ExitCode.DONE
        return world
    raise AssertionError("killed once, and it did not end")


OPENING = {"files": 10, "queue": 8}
"""Operations that open an empty store, before any role has begun."""


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))]
)
@pytest.mark.parametrize("which", ["files", "queue"])
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_any_operation_the_lessons_are_the_same(mode, which, part):
    def stores(at, when):
        made = {"files": MemoryStore(), "queue": MemoryStore()}
        return made | {which: FaultyStore(made[which], at, when)}

    whole = stores(-1, "before")
    expected = whole_run(mode, **whole).lessons
    total = whole[which].count
    assert total > 60
    for at in range(OPENING[which] + part, total, PARTS):
        world = whole_run(mode, **stores(at, "after" if (at // PARTS) % 2 else "before"))
        world.assert_whole()
        assert world.lessons == expected, at
