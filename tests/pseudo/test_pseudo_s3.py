"""The same protocol on an object store: a local S3 server, records as objects."""

import pytest

from tests.fakes_rows import Scene, make_batch, rows_are_true
from tests.fakes_store import CountingStore, object_store, s3_filesystem
from tsal_dist.errors import StaleRun
from tsal_dist.pseudo.collect import collect_garbage, collect_orphans
from tsal_dist.pseudo.topic import segment_name

NAME = "teacher-r0000-000001"


@pytest.fixture(scope="module")
def s3():
    with s3_filesystem() as filesystem:
        yield filesystem


def test_a_run_on_s3(s3):
    store = CountingStore(object_store(s3, "run"))
    scene = Scene(store, unit=2)
    producers = [scene.producer(rank) for rank in range(2)]
    planner, consumers = scene.planner(), [scene.consumer(rank) for rank in range(2)]
    ids = []
    for step in range(4):
        for rank, producer in enumerate(producers):
            start = 1000 * rank + 8 * step
            producer.publish(make_batch(range(start, start + 8)), step)
        planner.tick()
        plan = planner.plan(step, 6, 2)
        for consumer in consumers:
            delivery = consumer.fetch(plan)
            assert rows_are_true(delivery.columns)
            ids += delivery.columns["sample_id"].tolist()
        planner.trained(step)
    assert len(set(ids)) == len(ids) == 48
    store.counts.clear()
    planner.intake.poll()
    assert dict(store.counts) == {"children": 2}
    state = planner.state_dict()
    planner.commit([state])
    assert collect_garbage(store) > 0
    again = scene.planner()
    again.load_state_dict(state)
    again.tick()
    assert again.plan(4, 8, 2).fresh_rows == 16
    with pytest.raises(StaleRun):
        scene.producer(0)
    planner.close()


def test_damage_and_orphans_on_s3(s3):
    store = object_store(s3, "damage")
    scene = Scene(store)
    producer = scene.producer()
    for start in (0, 8):
        producer.publish(make_batch(range(start, start + 8)), 0)
    store.put_new(segment_name(NAME, 2), b"a crash came before its record")
    store.replace(segment_name(NAME, 0), b"not what was committed")
    planner = scene.planner()
    planner.tick()
    assert planner.plan(0, 100, 1).rows_per_rank == 8
    assert planner.counts()[NAME]["quarantined"] == 8
    assert store.children("quarantine") == [f"{NAME}.{0:012d}.json", f"{NAME}.{0:012d}.parquet"]
    assert collect_orphans(store) == 0  # the producer lives
    scene.producer(incarnation=2)
    assert collect_orphans(store) == 1
