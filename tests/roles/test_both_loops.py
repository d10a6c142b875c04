"""The loops of both roles against each other: late, dead and woken teachers, stops, gates, resumption."""

import pytest

from tests.fakes_store import FaultyStore, FullDisk, Killed
from tests.roles.small_world import ROWS, World
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import ExitCode, PeerLost, StaleRun
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.roles.peers import TEACHER_PEER
from tsal_dist.roles.teacher_loop import go_round


def fed(world):
    """Steps that were trained with labels."""
    return [step for step, rows in sorted(world.took.items()) if rows]


def test_a_run_from_first_to_last_step():
    world = World()
    teacher = world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert teacher.code == ExitCode.DONE
    world.assert_whole()
    assert [world.took[step] for step in range(8)][:4] == [0] * 4, "burn-in"
    assert len(fed(world)) > 30
    assert world.saved["student"].committed() == [30, 40]
    assert world.saved["teacher"].latest_committed() == 38, "the last version that was published"


def test_where_it_is_measured_both_roles_save():
    """The best is chosen among checkpoints: a score of a step that is not one could never be it."""
    world = World("train.steps=35", "data.validation=held-out", "runtime.log.evaluate_every=33")
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert world.saved["student"].committed() == [33, 35]
    assert world.saved["teacher"].committed() == [32, 34], "the last versions before these"


@pytest.mark.parametrize("ahead", [0, 1])
def test_steps_planned_ahead_are_the_same_steps(ahead):
    world = World(ahead=ahead)
    world.start_teacher()
    world.run_student()
    world.assert_whole()
    assert len(fed(world)) > 30


# What is done without labels.


@pytest.mark.parametrize(
    ("policy", "uses"), [("reuse", {1, 2}), ("supervised", {1})], ids=["reuse", "labelled frames alone"]
)
def test_a_student_without_labels_goes_on_at_its_pace(policy, uses):
    world = World(f"runtime.queue.on_starvation={policy}")
    teacher = world.start_teacher()
    world.clock.at(14.5, lambda: world.kill(teacher))
    assert world.run_student() == ExitCode.DONE
    assert world.clock.now < 40 * 1.0 + 10, "it waited for nobody"
    world.assert_whole()
    assert {use for _, use in world.trained_rows()} == uses
    assert world.took[39] == 0


def test_a_student_that_waits_trains_every_step_on_fresh_labels():
    world = World("runtime.queue.on_starvation=wait")
    world.label_s = 3.0
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert fed(world) == list(range(4, 40))
    assert {use for _, use in world.trained_rows()} == {1}
    assert world.clock.now > 36 * 3.0


def test_a_wait_has_a_deadline(caplog):
    world = World("runtime.queue.on_starvation=wait", "train.steps=10")
    teacher = world.start_teacher()
    world.clock.at(6.0, lambda: world.kill(teacher))
    assert world.run_student() == ExitCode.DONE
    alone = [step for step in range(4, 10) if not world.took[step]]
    assert alone
    waited_s = world.clock.now - 5.0 - 10
    assert 30 * len(alone) < waited_s < 32 * len(alone)
    assert "in phase 'label' at step" in caplog.text
    assert "Going on with labelled frames" in caplog.text


def test_labels_that_come_slowly_are_no_reason_to_end():
    """Three segments make a step: each comes within the deadline, all of them after it."""
    world = World("runtime.queue.on_starvation=abort", "train.unlabelled_batch=24", "train.steps=10")
    world.label_s = 20.0
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert [world.took[step] for step in range(4, 10)] == [24] * 6


def test_a_student_that_was_told_to_end_without_labels_names_the_teacher():
    world = World("runtime.queue.on_starvation=abort")
    teacher = world.start_teacher()
    world.clock.at(12.0, lambda: world.kill(teacher))
    with pytest.raises(PeerLost, match=r"No labels came for 30 s at step \d+: teacher 0 gave its last sign"):
        world.run_student()
    assert 42 < world.clock.now < 60


# Teachers that are late, die, come back.


def test_labels_of_a_late_teacher_are_used_from_when_they_come():
    world = World()
    teacher = world.start_teacher(at=20.0)
    assert world.run_student() == ExitCode.DONE
    assert teacher.code == ExitCode.DONE
    assert 20 <= fed(world)[0] <= 24
    assert len(fed(world)) > 14
    world.assert_whole()


def test_a_teacher_saves_before_its_student_does_whenever_versions_come():
    world = World("runtime.weights.publish_every=3")
    teacher = world.start_teacher()
    world.clock.at(24.0, lambda: world.kill(teacher))
    assert world.run_student() == ExitCode.DONE
    assert world.saved["student"].committed() == [30, 40]
    assert world.saved["teacher"].committed() == [9, 18], "the last versions before steps 10 and 20"


def test_a_dead_teacher_is_missed_and_its_successor_is_noticed(caplog):
    caplog.set_level("INFO")
    world = World("train.steps=200", "runtime.checkpoint.every=5")
    first = world.start_teacher()
    world.clock.at(30.0, lambda: world.kill(first))
    second = world.start_teacher(at=90.0)
    assert world.run_student() == ExitCode.DONE
    assert caplog.text.count("going on with the labels that are there, then without") == 1
    assert caplog.text.count("the teacher is back") == 1
    assert second.code == ExitCode.DONE
    assert not [step for step in fed(world) if 50 < step < 85]
    assert len([step for step in fed(world) if step > 95]) > 90
    world.assert_whole()


def test_a_teacher_that_wakes_up_after_its_successor_started_leaves_without_a_word(caplog):
    world = World("train.steps=120", "runtime.checkpoint.every=1000")  # which would make it look as well
    zombie = world.start_teacher()
    before = []

    def freeze():  # SIGSTOP, or a host that hangs
        before.append(zombie.links.teacher.labelled_rows)
        zombie.actor.free_at = 80.0

    world.clock.at(20.0, freeze)
    world.start_teacher(at=40.0)
    assert world.run_student() == ExitCode.DONE
    assert isinstance(zombie.error, StaleRun)
    assert "started again as incarnation 2" in str(zombie.error)
    assert [zombie.links.teacher.labelled_rows] == before, "not one more label"
    assert zombie.ended_at == 80.0, "at once"
    assert world.teachers[1].code == ExitCode.DONE
    world.assert_whole()


def test_a_teacher_whose_student_is_gone_saves_and_ends_after_the_grace():
    world = World()
    teacher = world.start_teacher()
    loop = world.student_loop()
    loop.upkeep.resume()
    for _ in range(12):
        assert loop._step()
    began = world.clock.now
    with pytest.raises(PeerLost, match="No reader of memory:/ has moved"):
        world.clock.sleep(500.0)
    # Its reader counts as dead 30 s after it was last seen to move, a little before this; then the grace passes.
    assert 100 + 20 < world.clock.now - began < 100 + 30 + 10
    assert teacher.code is None


def test_a_teacher_is_patient_with_a_student_that_lives_and_cannot_show_its_cursor(caplog):
    """The queue's disk is full and the run's is not: the student trains on, and says nothing of it for twice the grace."""
    full = FullDisk(MemoryStore())
    world = World("train.steps=360", "runtime.queue.on_starvation=supervised", queue=full)
    world.label_s = 0.1  # it is ahead, and parked, when it happens
    teacher = world.start_teacher()
    world.clock.at(20.3, lambda: setattr(full, "full", True))
    world.clock.at(280.0, lambda: setattr(full, "full", False))
    assert world.run_student() == ExitCode.DONE
    assert world.phase_at("teacher", 270.0) == "parked"
    assert teacher.code == ExitCode.DONE
    assert caplog.text.count("the student lives, and does not say what it has trained") == 1, "said once"
    assert not [step for step in fed(world) if 100 < step < 270]
    assert len([step for step in fed(world) if step > 300]) > 50, "labels again"
    world.assert_whole()


# Stops.


@pytest.mark.parametrize("at", [0.5, 3.5, 4.2, 11.5, 20.0, 38.5])
@pytest.mark.parametrize("policy", ["reuse", "wait"])
def test_a_student_that_is_asked_to_stop_saves_where_it_is(at, policy):
    world = World(f"runtime.queue.on_starvation={policy}")
    world.start_teacher()
    world.clock.at(at, lambda: world.student_stop.request("SIGTERM"))
    assert world.run_student() == ExitCode.REQUEUE
    stopped = world.saved["student"].latest_committed()
    assert stopped == len(world.took)
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()


def test_a_student_that_stops_while_it_waits_takes_no_step_without_labels():
    world = World("runtime.queue.on_starvation=wait")
    teacher = world.start_teacher()
    world.clock.at(10.0, lambda: world.kill(teacher))
    world.clock.at(30.0, lambda: world.student_stop.request("SIGTERM"))
    assert world.run_student() == ExitCode.REQUEUE
    assert all(world.took[step] == ROWS for step in range(4, len(world.took)))
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert all(world.took[step] == ROWS for step in range(4, 40)), "nor after it"
    world.assert_whole()


def test_a_stop_during_an_evaluation_is_heard_when_it_is_over():
    world = World("train.gate.enabled=true")
    world.evaluate_s["student"] = 20.0
    world.start_teacher()
    world.clock.at(10.0, lambda: world.student_stop.request("SIGTERM"))
    assert world.run_student() == ExitCode.REQUEUE
    assert world.saved["student"].latest_committed() == 4, "asked during the evaluation before step 4"
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()


PHASES = {
    "wait for the student": (2.0, {}),
    "absorb": (15.0, {"absorb_s": 30.0}),
    "label": (15.0, {"label_s": 3.0}),
    "parked": (15.0, {"label_s": 0.01}),
}
"""When it is asked, and how fast it is."""


@pytest.mark.parametrize("phase", PHASES)
def test_a_teacher_stops_in_any_phase_and_goes_on(phase):
    world = World("runtime.queue.max_lag_steps=60", "train.steps=100")
    at, speeds = PHASES[phase]
    for name, value in speeds.items():
        setattr(world, name, value)
    teacher = world.start_teacher()
    world.clock.at(at, lambda: teacher.stop.request("SIGTERM"))
    world.clock.at(59.0, lambda: setattr(world, "absorb_s", 0.1))
    second = world.start_teacher(at=60.0)
    assert world.run_student() == ExitCode.DONE
    assert world.phase_at("teacher", at) == phase
    assert teacher.code == ExitCode.REQUEUE
    assert second.resumed_from == teacher.links.teacher.version, "all that the first had absorbed"
    assert second.code == ExitCode.DONE
    world.assert_whole()


# The gate.


def test_a_gate_that_closes_stops_labels_and_one_that_opens_starts_them_again(caplog):
    caplog.set_level("INFO")
    world = World("train.gate.enabled=true", "train.steps=120", "runtime.queue.max_lag_steps=6")
    world.evaluate_s = dict.fromkeys(world.evaluate_s, 0.0)
    world.teacher_nme = lambda version: 0.3 if 40 <= version < 80 else 0.1
    world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert [
        word for word in ("the gate closes at step 40", "the gate opens at step 80") if word in caplog.text
    ] == [
        "the gate closes at step 40",
        "the gate opens at step 80",
    ]
    assert len([step for step in fed(world) if 6 < step < 40]) > 25
    assert not [step for step in fed(world) if 50 < step < 80]
    assert len([step for step in fed(world) if step > 84]) > 25
    world.assert_whole()


def test_a_student_shows_life_while_it_is_evaluated():
    """Else its teacher parks at a cursor that stands still, and takes it for dead."""
    world = World("train.gate.enabled=true", "train.steps=12", "runtime.deadlines.grace_s=61")
    world.evaluate_s["student"], world.label_s = 100.0, 0.1
    teacher = world.start_teacher()
    assert world.run_student() == ExitCode.DONE
    assert teacher.code == ExitCode.DONE


def test_a_teacher_that_does_not_change_is_measured_once(monkeypatch):
    world = World("train.gate.enabled=true")
    links = world.teacher_links()
    teacher, measured = links.teacher, []
    monkeypatch.setattr(
        teacher.engine, "full_weights", lambda: {"step": 4.0 if teacher.version < 12 else 5.0}
    )
    monkeypatch.setattr(links.gate_frames, "_nme_at", lambda step: measured.append(step) or 0.1)
    for step in (4, 8, 12):
        world.versions.offer(step, {"step": float(step)}, nme=0.1 + step / 100)
        go_round(links, StopFlag())
        assert teacher.metrics["gate/student_nme"] == 0.1 + step / 100
    assert measured == [4.0, 5.0]


def test_a_teacher_shows_life_while_it_is_evaluated():
    """Else its student takes it for dead."""
    world = World("train.gate.enabled=true")
    world.evaluate_s["teacher"] = 100.0
    links, watch = world.teacher_links(), world.watch()
    world.versions.offer(4, {"step": 4.0}, nme=0.1)
    silent_s = []
    world.clock.add(lambda: silent_s.append(watch.look()[TEACHER_PEER].silent_s))
    go_round(links, StopFlag())
    assert world.clock.now > 100
    assert max(silent_s) < 15


def test_a_teacher_goes_back_with_a_student_that_was_killed(caplog):
    world = World()
    teacher = world.start_teacher()

    def die():
        raise Killed

    world.clock.at(17.5, die)
    with pytest.raises(Killed):
        world.run_student()
    assert world.absorbed[-1] == 16
    assert world.saved["student"].latest_committed() == 10
    assert world.run_student() == ExitCode.DONE
    assert "the student went back to step 10" in caplog.text
    assert world.absorbed[world.absorbed.index(16) + 1] <= 12, "not from what a lost history had sent"
    assert teacher.code == ExitCode.DONE
    world.assert_whole()


# Resumption: killed at every place where anything is read or written, both roles go on.


def whole_run(files, queue):
    """Start again what was killed, until the run is done."""
    world = World("train.steps=14", "runtime.checkpoint.every=5", store=files, queue=queue)
    world.start_teacher()
    for _ in range(3):
        try:
            code = world.run_student()
        except Killed:
            # Whoever touched the store is dead; here both are, as when their host goes down.
            for teacher in world.teachers:
                world.kill(teacher)
            world.start_teacher()
            continue
        assert code == ExitCode.DONE
        return world
    raise AssertionError("killed once, and it did not end")


PARTS = 12
OPENING = {"files": 10, "queue": 8}
"""Operations that open an empty store, before any role has begun."""


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))]
)
@pytest.mark.parametrize("which", ["files", "queue"])
def test_killed_at_any_operation_a_run_goes_on(which, part):
    def stores(at, when):
        made = {"files": MemoryStore(), "queue": MemoryStore()}
        return made | {which: FaultyStore(made[which], at, when)}

    whole = stores(-1, "before")
    whole_run(**whole)
    total = whole[which].count
    assert total > 100
    for at in range(OPENING[which] + part, total, PARTS):
        world = whole_run(**stores(at, "after" if (at // PARTS) % 2 else "before"))
        world.assert_whole()
        assert len(fed(world)) >= 4, "and labels came through each time"
