"""Q1, Q10: a process that dies or a disk that fails at any operation, and files cut at any byte."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes_rows import Scene, make_batch, planned_rows, rows_are_true
from tests.fakes_store import FaultyStore, Killed, flaky
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.admission import inspect_segment
from tsal_dist.pseudo.collect import collect_orphans
from tsal_dist.pseudo.log import RECORD_BYTES, LogReader, log_name
from tsal_dist.pseudo.topic import segment_name

NAME = "teacher-r0000-000001"


def drain(scene, planner=None):
    """Every row that a fresh reader gets, checked against the oracle; the sample ids in order."""
    planner = planner or scene.planner()
    planner.tick()
    ids, step = [], 0
    consumer = scene.consumer()
    while (plan := planner.plan(step, scene.schema.unit, 1, reuse=False)).rows_per_rank:
        delivery = consumer.fetch(plan)
        assert rows_are_true(delivery.columns)
        assert (delivery.fresh_N > 0).all()
        ids += delivery.columns["sample_id"].tolist()
        planner.trained(step)
        step += 1
    for counts in planner.counts().values():
        assert counts["pending"] == 0
        assert counts["committed"] == counts["delivered"] + counts["trimmed"] + counts["quarantined"]
    return ids


def write(scene, store, batches=3):
    """Publish `batches` of 8 rows; returns the ids whose publish call returned."""
    done = []
    producer = scene.producer(store=store)
    for number in range(batches):
        ids = range(number * 8, number * 8 + 8)
        producer.publish(make_batch(ids), teacher_step=number)
        done += ids
    producer.close()
    return done


def count_operations(appends):
    store = FaultyStore(MemoryStore(appends))
    write(Scene(store.inner), store)
    return store.count


@pytest.mark.parametrize("appends", [True, False])
@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_writer_killed_at_every_operation(appends, when):
    for at in range(1, count_operations(appends) + 1):
        scene = Scene(MemoryStore(appends))
        store = FaultyStore(scene.store, at, when)
        with pytest.raises(Killed):
            write(scene, store)
        ids = drain(scene)
        assert ids == list(range(len(ids)))
        assert len(ids) % 8 == 0
        successor = scene.producer(incarnation=2)
        successor.publish(make_batch(range(100, 108)), 5)
        successor.close()
        collect_orphans(scene.store)
        assert sorted(drain(scene)) == [*ids, *range(100, 108)]


@pytest.mark.parametrize("appends", [True, False])
@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_failing_operation_is_tried_again_and_nothing_is_lost(appends, when):
    for at in range(5, count_operations(appends) + 1):  # the first ones open the producer
        scene = Scene(MemoryStore(appends))
        store = flaky(scene.store, at, when)
        producer = scene.producer(store=store)
        failures = 0
        for number in range(3):
            try:
                producer.publish(make_batch(range(number * 8, number * 8 + 8)), teacher_step=number)
            except ExchangeError:
                failures += 1
        producer.tick()
        producer.flush()
        assert failures <= 1
        assert drain(scene) == list(range(24))[: producer.committed_rows]
        # A batch is refused as a whole only when the retry of an older one failed before it was taken.
        assert producer.committed_rows == 24


@pytest.mark.parametrize("appends", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reader_killed_at_every_operation_and_restored(appends, when):
    """Q3: what the surviving lineage trains on is every row once, whatever the reader's store does."""
    at = 0
    while True:
        at += 1
        scene = Scene(MemoryStore(appends))
        write(scene, scene.store)
        store = FaultyStore(scene.store, at, when)
        state, step, trained = None, 0, []
        survived = False
        try:
            planner = scene.planner(store)
            planner.tick()
            for step in range(4):
                plan = planner.plan(step, 3, 2)
                planner.trained(step)
                trained += planned_rows(plan)
                if step == 1:
                    state, kept = planner.state_dict(), list(trained)
                    planner.commit([state])
            survived = True
        except Killed:
            pass
        if survived:
            assert at > 10
            return
        planner = scene.planner()
        trained, step = [], 0
        if state is not None:
            planner.load_state_dict(state)
            trained, step = kept, 2
        planner.tick()
        while (plan := planner.plan(step, 3, 2)).rows_per_rank:
            planner.trained(step)
            trained += planned_rows(plan)
            step += 1
        assert sorted(trained) == [(NAME, seq, row) for seq in range(3) for row in range(8)]


def test_a_log_cut_at_every_byte():
    scene = Scene(MemoryStore())
    write(scene, scene.store)
    whole = scene.store.files[log_name(NAME)]
    for size in range(len(whole)):
        scene.store.files[log_name(NAME)] = whole[:size]
        records = min(size // RECORD_BYTES, 3)
        assert drain(scene) == list(range(records * 8))
    scene.store.files[log_name(NAME)] = whole
    assert drain(scene) == list(range(24))


def test_a_log_that_grows_byte_by_byte_under_a_reader():
    scene = Scene(MemoryStore())
    write(scene, scene.store)
    whole = scene.store.files[log_name(NAME)]
    scene.store.files[log_name(NAME)] = b""
    planner = scene.planner()
    rows = 0
    for size in range(len(whole) + 1):
        scene.store.files[log_name(NAME)] = whole[:size]
        rows += planner.intake.poll()
        assert rows == min(size // RECORD_BYTES, 3) * 8
    assert drain(scene, planner) == list(range(24))


def test_a_segment_cut_at_every_byte():
    scene = Scene(MemoryStore())
    write(scene, scene.store, batches=2)
    record = LogReader(scene.store, NAME).read()[0]
    name = segment_name(NAME, 0)
    whole = scene.store.files[name]
    for size in range(len(whole)):
        scene.store.files[name] = whole[:size]
        assert inspect_segment(scene.topic, NAME, record).fault
        if size % 97 == 0:
            planner = scene.planner()
            assert drain(scene, planner) == list(range(8, 16))
            assert planner.counts()[NAME]["quarantined"] == 8
    scene.store.files[name] = whole
    assert drain(scene) == list(range(16))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_quarantined_and_never_read(data):
    """Bit flips, zeroed holes and cuts in a segment or in the log."""
    scene = Scene(MemoryStore())
    write(scene, scene.store)
    files = sorted(name for name in scene.store.files if name.startswith("p/") and "META" not in name)
    name = data.draw(st.sampled_from(files))
    raw = np.frombuffer(scene.store.files[name], np.uint8).copy()
    place = data.draw(st.integers(0, 1 << 16)) % len(raw)
    match data.draw(st.sampled_from(["flip", "hole", "cut"])):
        case "flip":
            raw[place] ^= 1 << data.draw(st.integers(0, 7))
        case "hole":
            raw[place : place + 64] = 0
        case "cut":
            raw = raw[:place]
    scene.store.files[name] = raw.tobytes()
    ids = drain(scene)  # which checks every number
    assert ids == sorted(set(ids))
    if name.endswith(".parquet"):
        assert len(ids) >= 16
        assert len(ids) == 24 or any(name.startswith("quarantine/") for name in scene.store.files)


def test_a_broken_record_between_whole_ones_loses_its_rows_alone_and_counts_them():
    scene = Scene(MemoryStore())
    write(scene, scene.store)
    raw = bytearray(scene.store.files[log_name(NAME)])
    raw[RECORD_BYTES + 20] ^= 0xFF
    scene.store.files[log_name(NAME)] = bytes(raw)
    planner = scene.planner()
    assert drain(scene, planner) == [*range(8), *range(16, 24)]
    assert planner.counts()[NAME]["quarantined"] == 8
