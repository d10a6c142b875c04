"""The producer: what makes a segment, what parks it (Q8), and how it fails."""

import errno
import os
import shutil
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes_rows import Scene, make_batch, make_feedback, planned_rows
from tests.fakes_store import CountingStore, FaultyStore
from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import ConfigError, DataError, DiskFull, ExchangeError, PeerLost, QueueFull, StaleRun
from tsal_dist.exchange import posix
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.pseudo.credits import Credits, check_limits
from tsal_dist.pseudo.log import Kind, LogReader, log_name
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.schema import feedback_schema
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.topic import open_topic, producer_name
from tsal_dist.roles import teacher_loop

NAME = "teacher-r0000-000001"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def segments(scene, name=NAME):
    return [
        (record.rows, record.step)
        for record in LogReader(scene.store, name).read()
        if record.kind is Kind.DATA
    ]


def test_rows_are_flushed_by_number_by_age_and_by_step():
    scene, clock = Scene(MemoryStore()), Clock()
    producer = scene.producer(max_age_s=5, clock=clock)
    producer.publish(make_batch(range(5)), 1)
    producer.publish(make_batch(range(5, 10)), 1)  # would make 10 of at most 8
    assert segments(scene) == [(5, 1)]
    clock.now = 4.9
    producer.tick()
    assert segments(scene) == [(5, 1)]
    clock.now = 5.0
    producer.tick()
    assert segments(scene) == [(5, 1), (5, 1)]
    producer.publish(make_batch(range(10, 12)), 1)
    producer.publish(make_batch(range(12, 14)), 2)
    assert segments(scene)[2:] == [(2, 1)]
    producer.publish(make_batch(range(14, 34)), 2)  # larger than a segment
    assert segments(scene)[3:] == [(2, 2), (8, 2), (8, 2)]
    producer.close()
    assert segments(scene)[6:] == [(4, 2)]
    assert LogReader(scene.store, NAME).read()[-1].kind is Kind.SEAL


def test_half_a_clip_is_refused():
    with pytest.raises(DataError, match="clips of 2"):
        Scene(MemoryStore(), unit=2).producer().publish(make_batch(range(3)), 0)


def test_two_processes_cannot_be_the_same_incarnation():
    scene = Scene(MemoryStore())
    scene.producer()
    with pytest.raises(StaleRun, match="Claim a new incarnation"):
        scene.producer()


def test_a_zombie_changes_nothing_that_was_seen():
    """Q6: it may go on writing into its own directory; nobody looks there any more."""
    scene = Scene(MemoryStore())
    zombie = scene.producer()
    zombie.publish(make_batch(range(8)), 0)
    planner = scene.planner()
    successor = scene.producer(incarnation=2)
    planner.tick()
    planner.tick()
    zombie.publish(make_batch(range(8, 16)), 0)
    successor.publish(make_batch(range(16, 24)), 0)
    planner.tick()
    rows = planned_rows(planner.plan(0, 100, 1))
    assert {name for name, _, _ in rows} == {NAME, "teacher-r0000-000002"}
    assert len(rows) == 16
    assert planner.counts()[NAME]["committed"] == 8


# ---- failures: one clear error each, nothing committed is lost


@pytest.fixture
def posix_scene(tmp_path):
    return Scene(PosixStore(tmp_path / "queue", create=True))


def readable_rows(scene):
    planner = scene.planner()
    planner.tick()
    return planner.plan(0, 1, 1).rows_per_rank and planner.counts()[NAME]["committed"]


def test_a_full_disk_while_publishing(posix_scene, monkeypatch):
    producer = posix_scene.producer()
    producer.publish(make_batch(range(8)), 0)

    def write(handle, data, real=os.write):
        if len(data) > 100:
            return real(handle, data[:100])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(posix.os, "write", write)
        with pytest.raises(ExchangeError, match="disk is full; free some space, nothing that was committed"):
            producer.publish(make_batch(range(8, 16)), 0)
        with pytest.raises(ExchangeError, match="disk is full"):
            producer.tick()
        assert list((posix_scene.store.root / "tmp").iterdir()) == []
    assert readable_rows(posix_scene) == 8
    producer.tick()
    assert readable_rows(posix_scene) == 16


@pytest.mark.parametrize(
    ("waiting", "coming"), [(range(0), range(20)), (range(4), range(100, 108)), (range(8), range(100, 120))]
)
def test_no_row_that_was_taken_is_lost_to_a_disk_that_refuses_once(waiting, coming):
    """Neither the rest of a batch that fills several segments, nor the rows that came when those before were due."""
    store = FaultyStore(MemoryStore(), error=ExchangeError)
    scene = Scene(store)
    producer = scene.producer()
    producer.publish(make_batch(waiting), 0)
    store.at = store.count + 1
    with pytest.raises(ExchangeError):
        producer.publish(make_batch(coming), 1)
    producer.tick()
    producer.flush()
    assert producer.committed_rows == len(waiting) + len(coming)
    planner, consumer = scene.planner(), scene.consumer()
    planner.tick()
    rows = consumer.fetch(planner.plan(0, producer.committed_rows, 1)).columns
    assert rows["sample_id"].tolist() == [*waiting, *coming]
    assert rows["teacher_step"].tolist() == [0] * len(waiting) + [1] * len(coming)


@pytest.mark.parametrize("left", [0, 63, 64])
def test_a_log_that_was_cut_ends_its_writer(posix_scene, left):
    """Waiting as for a full disk would park it for ever, with an exit code that says all is well."""
    producer = posix_scene.producer()
    for start in (0, 8):
        producer.publish(make_batch(range(start, start + 8)), 0)
    os.truncate(posix_scene.store.root / log_name(NAME), left)
    with pytest.raises(StaleRun, match="deleted or cut under its writer.*Restart this process"):
        producer.publish(make_batch(range(16, 24)), 0)
    links = SimpleNamespace(stuck=False, teacher=None)
    with pytest.raises(StaleRun):
        teacher_loop._send(links, producer.tick)
    again = posix_scene.producer(incarnation=2)
    again.publish(make_batch(range(16, 24)), 0)
    assert again.committed_rows == 8


def test_a_deleted_directory(posix_scene):
    producer, planner = posix_scene.producer(), posix_scene.planner()
    planner.tick()
    shutil.rmtree(posix_scene.store.root / "p" / NAME)
    with pytest.raises(StaleRun, match=f"log of {NAME} .* was deleted or cut under its writer"):
        producer.publish(make_batch(range(8)), 0)
    planner.tick()
    assert "LOG does not exist" in planner.intake.unread[NAME]
    shutil.rmtree(posix_scene.store.root)
    with pytest.raises(ExchangeError, match="was deleted"):
        producer.flush()


def test_a_read_only_mount(posix_scene, monkeypatch):
    producer = posix_scene.producer()
    producer.publish(make_batch(range(8)), 0)

    def refuse(path, flags, *args, real=os.open):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "read-only")
        return real(path, flags, *args)

    with monkeypatch.context() as patch:
        patch.setattr(posix.os, "open", refuse)
        with pytest.raises(ExchangeError, match="mounted read-only"):
            producer.publish(make_batch(range(8, 16)), 0)
        with pytest.raises(ExchangeError, match="mounted read-only"):
            posix_scene.producer(rank=1)
    assert readable_rows(posix_scene) == 8


# ---- credits


def with_credits(scene, high, low, ttl=60, clock=None, rank=0):
    credits = Credits(
        scene.store, producer_name("teacher", rank, 1), ["student"], high, low, ttl, clock or Clock()
    )
    return scene.producer(rank, credits=credits)


def test_a_producer_parks_at_high_water_and_goes_on_at_low():
    scene = Scene(MemoryStore())
    producer, planner = with_credits(scene, high=16, low=8), scene.planner()
    for start in (0, 8):
        producer.publish(make_batch(range(start, start + 8)), 0)
    with pytest.raises(QueueFull, match="ready"):
        producer.publish(make_batch(range(16, 24)), 0)
    planner.tick()
    planner.plan(0, 7, 1)
    planner.trained(0)
    planner.publish_cursor()
    assert not producer.ready()  # 9 rows wait, low water is 8
    planner.plan(1, 1, 1)
    planner.publish_cursor()
    assert not producer.ready()  # planned is not trained
    planner.trained(1)
    planner.publish_cursor()
    assert producer.ready()


def test_below_high_water_no_cursor_is_read():
    store = CountingStore(MemoryStore())
    scene = Scene(store)
    producer = with_credits(scene, high=1000, low=0)
    before = store.counts["get"]
    for start in range(0, 80, 8):
        producer.publish(make_batch(range(start, start + 8)), 0)
    assert store.counts["get"] == before


def test_a_dead_group_expires_and_does_not_wedge_the_producer():
    scene, clock = Scene(MemoryStore()), Clock()
    credits = Credits(scene.store, NAME, ["student", "monitor"], 8, 0, 60, clock)
    student = scene.planner()
    producer = scene.producer(credits=credits)
    producer.publish(make_batch(range(8)), 0)
    student.tick()
    student.plan(0, 8, 1)
    student.trained(0)
    student.publish_cursor()
    assert not producer.ready()  # the monitor has read nothing yet
    clock.now = 61
    student.publish_cursor()
    assert producer.ready()  # it is dead; the student is not
    producer.publish(make_batch(range(8, 16)), 0)
    assert not producer.ready()
    clock.now = 200
    with pytest.raises(PeerLost, match="No reader .* has moved for 60 s"):
        producer.ready()


@settings(max_examples=60, deadline=None)
@given(
    high=st.integers(2, 40),
    low=st.integers(0, 39),
    actions=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), max_size=40),
)
def test_the_backlog_is_bounded_and_both_sides_come_to_an_end(high, low, actions):
    """Q8, with three producers that publish whenever they may, and any order of ends."""
    if low >= high:
        with pytest.raises(ConfigError, match="low"):
            Credits(MemoryStore(), NAME, ["student"], high, low, 60)
        return
    scene = Scene(MemoryStore())
    producers = [with_credits(scene, high, low, rank=rank) for rank in range(3)]
    planner = scene.planner(pool_rows=8)
    step = next_id = 0
    for rank, rows in actions:
        if producers[rank].ready():
            producers[rank].publish(make_batch(range(next_id, next_id + rows)), 0)
            next_id += rows
        else:
            planner.tick()
            planner.plan(step, rows, 1)
            planner.trained(step)
            planner.publish_cursor()
            step += 1
        trained = {name: feed.passed for name, feed in planner.intake.feeds.items()}
        for producer in producers:
            backlog = producer.committed_rows - trained.get(producer.name, 0)
            assert backlog < high + 8 + 12  # high water, one flush, and the batch that was split
    for producer in producers:
        producer.close()  # the end of a run is never refused
    planner.tick()
    while planner.plan(step, 4, 1).rows_per_rank:
        planner.trained(step)
        step += 1
    assert planner.pending_rows == 0
    assert sum(counts["delivered"] for counts in planner.counts().values()) == next_id


def test_limits_that_could_deadlock_are_refused():
    good = {
        "low_rows": 1024,
        "segment_rows": 256,
        "plan_rows": 256,
        "producers": 2,
        "unit": 4,
    }
    check_limits(**good)
    for change, words in (
        ({"segment_rows": 255}, "whole clips"),
        ({"low_rows": 100}, "Raise low water to 128"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_limits(**(good | change))


def test_feedback_goes_the_other_way_over_the_same_code():
    topic = open_topic(MemoryStore(), feedback_schema(), "run")
    student = Producer(topic, "student", 0, 1)
    student.publish(make_feedback(range(5)), 40)
    student.flush()
    teacher = Planner(topic, "teacher", Staleness(0.99))
    assert teacher.tick() == 5
    plan = teacher.plan(0, 8, 1)
    assert (plan.rows_per_rank, plan.short_rows) == (5, 3)
    assert plan.ranks[0][0].teacher_step == 40


def test_a_queue_is_opened_when_there_is_room_again(tmp_path, monkeypatch, caplog):
    """A role that starts while the disk is full for a moment waits; one that only reads does not even notice."""
    store, schema = PosixStore(tmp_path / "queue", create=True), Scene(MemoryStore()).topic.schema
    limits = DeadlinesConfig(poll_s=0.01, silent_s=30.0)
    room = []

    def write(handle, data, real=os.write):
        if room and not room.pop(0):
            raise OSError(errno.ENOSPC, "full")
        return real(handle, data)

    monkeypatch.setattr(posix.os, "write", write)
    room[:] = [False] * 3
    topic = when_there_is_room(lambda: open_topic(store, schema, "run"), limits)
    assert not room
    assert caplog.text.count("waiting up to 30 s for room") == 1
    room[:] = [False]  # META.json, after an empty log was made
    producer = when_there_is_room(lambda: Producer(topic, "teacher", 0, 1), limits)
    assert not room
    producer.publish(make_batch(range(8)), 0)
    producer.close()
    room[:] = [False] * 99
    planner = Planner(open_topic(store, schema, "run"), "student", Staleness(1.0))
    planner.tick()
    assert planner.plan(0, 8, 1).rows_per_rank == 8, "reading takes no room"
    with pytest.raises(DiskFull, match="disk is full"):
        when_there_is_room(
            lambda: Producer(topic, "teacher", 0, 2), DeadlinesConfig(poll_s=0.01, silent_s=0.05)
        )
