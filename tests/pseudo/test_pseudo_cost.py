"""Q9, Q12: what polling costs and what memory grows with: counted, not timed."""

import gc
import json
import resource
from pathlib import Path

import pytest

from tests.fakes_rows import Scene, make_batch, make_feedback
from tests.fakes_store import CountingStore, LaggingStore
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.collect import collect_garbage
from tsal_dist.pseudo.log import Kind, Record, append_record
from tsal_dist.pseudo.schema import feedback_schema


def grow(scene, producer, segments):
    """Commit `segments` records at once; their data is not asked for here."""
    for seq in range(producer.committed_segments, segments):
        append_record(scene.store, producer.name, Record(Kind.DATA, seq, seq, 1, 1, 1, 0, 0, 0))
        producer.committed_segments += 1


@pytest.mark.parametrize("appends", [True, False])
@pytest.mark.parametrize("segments", [10, 10_000])
def test_an_idle_poll_costs_one_operation_per_live_producer(appends, segments):
    store = CountingStore(MemoryStore(appends))
    scene = Scene(store)
    producers = [scene.producer(rank) for rank in range(4)]
    if not appends and segments > 10:
        segments = 1000  # a dictionary's listing is slow; its number of operations is not
    grow(scene, producers[0], segments)
    producers[3].close()
    planner = scene.planner()
    while planner.intake.poll():
        pass
    store.counts.clear()
    for _ in range(5):
        planner.intake.poll()
    assert dict(store.counts) == {("get" if appends else "children"): 15}


def test_looking_for_producers_costs_one_listing_whatever_was_published():
    store = CountingStore(MemoryStore())
    scene = Scene(store)
    for rank in range(4):
        scene.producer(rank).publish(make_batch(range(8)), 0)
    planner = scene.planner()
    store.counts.clear()
    planner.intake.discover()
    assert dict(store.counts) == {"children": 1}


def test_a_stale_listing_delays_new_producers_and_nothing_else():
    """The NFS model: rows of known producers arrive with the next poll, however old the client's listings are."""
    base = MemoryStore()
    scene = Scene(base)
    known = scene.producer(0)
    client = LaggingStore(base)
    planner = scene.planner(client)
    late = scene.producer(1)
    for start in range(0, 80, 8):
        known.publish(make_batch(range(start, start + 8)), 0)
        late.publish(make_batch(range(100 + start, 108 + start)), 0)
        assert planner.tick() == 8
    client.refresh()
    assert planner.tick() == 80


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_segments():
    scene = Scene(MemoryStore(), schema=feedback_schema())
    producer, planner, consumer = (
        scene.producer(max_rows=2),
        scene.planner(dedupe_units=256),
        scene.consumer(),
    )
    kept = []
    for step in range(10_000):
        producer.publish(make_feedback(range(2 * step, 2 * step + 2)), step // 50)
        planner.intake.poll()
        consumer.fetch(planner.plan(step, 2, 1))
        planner.trained(step)
        if step % 100 == 99:
            planner.commit([planner.state_dict()])
            collect_garbage(scene.store)
        if step in {1_999, 9_999}:
            state = len(json.dumps(planner.state_dict()))
            kept.append((len(scene.store.files), state, resident_mib()))
    (files, state, mib), (files_late, state_late, mib_late) = kept
    assert files_late == files
    assert state_late < 1.02 * state  # longer numbers, not more of them
    assert mib_late < mib + 16


def resident_mib():
    """Memory of this process; its log (64 bytes a segment, in the store's dictionary here) is part of it."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)
