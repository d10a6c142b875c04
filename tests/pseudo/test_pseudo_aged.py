"""A run of a million steps, aged by hand: what it leaves is bounded, and going on does not depend on what was."""

import json
from collections import Counter

import pytest

from tests.fakes_rows import Scene, make_batch, planned_rows
from tests.fakes_store import CountingStore
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.pseudo.collect import collect_garbage, load_watermark
from tsal_dist.pseudo.log import RECORD_BYTES, Kind, Record, encode_record, log_name
from tsal_dist.pseudo.topic import meta_name, segment_name

STEPS, TEACHERS, ROWS = 1_000_000, 3, 256
SEGMENTS = STEPS * 8 // ROWS // TEACHERS
"""Of each teacher, for a student that trains on 8 rows per step."""
BYTES = 3000 * ROWS


@pytest.fixture(scope="module")
def aged():
    """A queue with the logs of a million steps; of its segments only the names."""
    scene = Scene(MemoryStore())
    names = []
    for rank in range(TEACHERS):
        producer = scene.producer(rank)
        names.append(producer.name)
        schema = int(scene.schema.fingerprint[:8], 16)
        records = [
            Record(Kind.DATA, seq, ROWS * seq, ROWS, BYTES, 1, seq * STEPS // SEGMENTS, 0, schema)
            for seq in range(SEGMENTS)
        ]
        scene.store.files[log_name(producer.name)] = b"".join(map(encode_record, records))
        scene.store.files |= {segment_name(producer.name, seq): b"" for seq in range(SEGMENTS)}
    return scene, names


def left_of(store, name):
    return [seq for seq in range(SEGMENTS) if segment_name(name, seq) in store.files]


def test_labels_are_bounded_by_size_and_nothing_that_is_needed_goes(aged):
    scene, names = aged
    floors = dict(zip(names, (SEGMENTS - 3, SEGMENTS, SEGMENTS - 100), strict=True))
    scene.store.replace(
        "c/student.json", json.dumps({"beat": "a", "step": STEPS, "floor": floors, "trained": {}}).encode()
    )
    keep = 500
    removed = collect_garbage(scene.store, keep_bytes=keep * BYTES)
    assert removed == sum(floors.values()) - keep
    spared = 0
    for name in names:
        left = left_of(scene.store, name)
        assert left == list(range(load_watermark(scene.store)[name], SEGMENTS)), (
            "the oldest went, in one piece"
        )
        spared += len([seq for seq in left if seq < floors[name]])
    assert spared == keep
    oldest = [load_watermark(scene.store)[name] for name in names]
    assert max(oldest) - min(oldest) <= 1, "labels of equally old weights go together"
    counted = CountingStore(scene.store)
    assert collect_garbage(counted, keep_bytes=keep * BYTES) == 0
    assert counted.counts.total() < 20, "where nothing is to be done it costs next to nothing"


def test_going_on_reads_only_what_is_new(aged):
    scene, names = aged
    young = Scene(MemoryStore())
    producer = young.producer()
    producer.publish(make_batch(range(8)), 0)
    planner = young.planner()
    planner.tick()
    planner.plan(1, 8, 1)
    template = planner.state_dict()
    feed = template["intake"]["feeds"][producer.name]
    old = {
        "offset": [SEGMENTS, 0],
        "next": SEGMENTS,
        "committed": ROWS * SEGMENTS,
        "delivered": ROWS * SEGMENTS,
    }
    feeds = {name: feed | old | {"head": None} for name in names}
    floor = dict.fromkeys(names, SEGMENTS)
    state = template | {"queue": scene.topic.uuid, "planned": [], "pool": [], "floor": floor}
    state["intake"] |= {"feeds": feeds, "returned": [], "turn": ""}
    state = json.loads(json.dumps(state))

    class Metered(CountingStore):
        read_bytes = 0

        def get(self, name, start=0, length=None):
            data = super().get(name, start, length)
            self.read_bytes += len(data)
            return data

    store = Metered(scene.store)
    again = scene.planner(store=store)
    again.load_state_dict(state)
    store.read_bytes, store.counts = 0, Counter()
    again.tick()
    assert store.counts["get"] <= 2 * TEACHERS, "one read of each log"
    assert store.read_bytes < 10 * RECORD_BYTES
    assert again.pending_rows == 0
    assert planned_rows(again.plan(STEPS, 8, 1)) == []
    assert meta_name(names[0]) in scene.store.files


def test_a_rank_that_was_started_a_thousand_times_leaves_one_claim():
    store = MemoryStore()
    for _ in range(1000):
        tenure = begin_tenure(store, "student", 0, "run")
    assert tenure.incarnation == 1000
    assert len(store.children("ctl/hello")) == 2
