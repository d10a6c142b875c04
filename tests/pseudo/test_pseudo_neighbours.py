"""One producer that cannot be read, for whatever reason, stops nobody: it is passed over, counted and looked at again."""

import shutil

import pytest

from tests.fakes_rows import Scene, make_batch, planned_rows
from tests.fakes_store import Killed, Wrapped
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.collect import (
    collect_garbage,
    collect_orphans,
    list_segments,
    load_watermark,
    try_to_collect,
)
from tsal_dist.pseudo.log import log_name
from tsal_dist.pseudo.survey import lint_topic, living_segments, survey_producers
from tsal_dist.pseudo.topic import meta_name, segment_name


class Refusing(Wrapped):
    """A store where reading some names fails, as by EIO or a missing permission."""

    def __init__(self, inner):
        super().__init__(inner)
        self.refused = set()

    def before(self, operation, name, args):
        if operation in ("get", "children") and name in self.refused:
            raise ExchangeError(f"Cannot read {name}: the disk or the network behind it failed.")


def publish(scene, count=2):
    """Producers that have published eight rows each."""
    producers = [scene.producer(rank) for rank in range(count)]
    for rank, producer in enumerate(producers):
        producer.publish(make_batch(range(100 * rank, 100 * rank + 8)), 1)
    return [producer.name for producer in producers]


@pytest.mark.parametrize("what", [log_name, meta_name, lambda name: segment_name(name, 0)])
def test_the_others_go_on_and_it_is_looked_at_again(what, caplog):
    store = Refusing(MemoryStore())
    scene = Scene(store)
    bad, good = publish(scene)
    store.refused.add(what(bad))
    planner = scene.planner()
    planner.tick()
    assert {name for name, *_ in planned_rows(planner.plan(2, 8, 1))} == {good}
    for _ in range(3):
        planner.tick()
    assert planner.plan(3, 8, 1).rows_per_rank == 0
    assert len(planner.intake.unread) == 1
    assert caplog.text.count("is passed over, and looked at again") == 1
    assert planner.intake.lost_rows().total() == 0, "nothing is given up"
    store.refused.clear()
    planner.tick()
    assert {name for name, *_ in planned_rows(planner.plan(4, 8, 1))} == {bad}
    assert planner.intake.unread == {}
    for counts in planner.counts().values():
        assert counts["committed"] == counts["delivered"] == 8


def test_a_restart_finds_it_unreadable_and_goes_on():
    store = Refusing(MemoryStore())
    scene = Scene(store)
    bad, good = publish(scene)
    planner = scene.planner()
    planner.tick()
    planner.plan(2, 4, 1)
    state = planner.state_dict()
    store.refused.add(log_name(bad))
    again = scene.planner()
    again.load_state_dict(state)
    again.tick()
    names = [name for step in (3, 4, 5) for name, *_ in planned_rows(again.plan(step, 4, 1), use=1)]
    assert names.count(bad) + names.count(good) == 12, "what is known of the log is handed out"
    assert list(again.intake.unread) == [bad]
    store.refused.clear()
    again.tick()
    assert again.intake.unread == {}


def test_a_listing_that_fails_is_made_again():
    store = Refusing(MemoryStore())
    scene = Scene(store)
    planner = scene.planner()
    publish(scene)
    store.refused.add("p")
    planner.tick()
    assert planner.pending_rows == 0
    store.refused.clear()
    planner.tick()
    assert planner.pending_rows == 16


@pytest.mark.parametrize("damage", ["no log", "no meta", "log is a folder", "meta is a folder"])
def test_what_is_broken_on_a_disk_is_passed_over_by_everybody(tmp_path, damage):
    scene = Scene(PosixStore(tmp_path, create=True))
    bad, good = publish(scene)
    broken = tmp_path / (log_name(bad) if "log" in damage else meta_name(bad))
    broken.unlink()
    if "folder" in damage:
        broken.mkdir()
    planner = scene.planner()
    planner.tick()
    assert {name for name, *_ in planned_rows(planner.plan(2, 8, 1))} == {good}
    surveys = {each.name: each for each in survey_producers(scene.topic)}
    assert surveys[good].rows == 8
    assert surveys[bad].rows == 0
    assert "annot read" in surveys[bad].fault or "does not exist" in surveys[bad].fault
    assert bad in {finding.place for finding in lint_topic(scene.topic)}
    assert good in {name for name, _ in living_segments(scene.topic)}
    assert collect_orphans(scene.store) == 0
    assert collect_garbage(scene.store) == 0


def test_what_a_crash_left_of_a_collection_goes_with_the_orphans(monkeypatch):
    """The watermark is raised first, so no later collection comes back to what lies below it."""
    scene = Scene(store := MemoryStore())
    (name,) = publish(scene, 1)
    planner = scene.planner()
    planner.tick()
    planner.plan(2, 8, 1)
    planner.trained(2)
    planner.commit([planner.state_dict()])

    def die(name):
        raise Killed

    with monkeypatch.context() as crash:
        crash.setattr(store, "delete", die)
        with pytest.raises(Killed):
            collect_garbage(store)
    assert load_watermark(store) == {name: 1}
    assert (collect_garbage(store), list_segments(store, name)) == (0, [0])
    assert collect_orphans(store, dry_run=True) == 1
    assert collect_orphans(store) == 1
    assert not list(lint_topic(scene.topic))
    assert list_segments(store, name) == []


def test_who_may_not_read_is_told_about_reading(tmp_path, monkeypatch):
    store = PosixStore(tmp_path, create=True)
    store.put_new("a", b"1")

    def refuse(*_args):
        raise PermissionError(13, "refused")

    monkeypatch.setattr("tsal_dist.exchange.posix.os.open", refuse)
    with pytest.raises(ExchangeError, match="Cannot read .*may not read there"):
        store.get("a")
    with pytest.raises(ExchangeError, match="Cannot write .*may not write there"):
        store.replace("a", b"2")


def test_a_segment_that_a_rank_cannot_read_weighs_nothing():
    store = Refusing(MemoryStore())
    scene = Scene(store)
    (name,) = publish(scene, 1)
    planner = scene.planner()
    planner.tick()
    plan = planner.plan(2, 8, 1)
    store.refused.add(segment_name(name, 0))
    consumer = scene.consumer()
    delivery = consumer.fetch(plan)
    assert delivery.fresh_N.tolist() == [0] * 8
    assert "the disk or the network" in consumer.damaged[name, 0]


def flips(text):
    for place in range(len(text)):
        for bit in (0, 3, 6):
            data = bytearray(text)
            data[place] ^= 1 << bit
            yield bytes(data)


@pytest.mark.parametrize("file", ["c/student.json", "WATERMARK.json"])
def test_no_flipped_bit_has_a_needed_segment_collected(tmp_path, file):
    """A floor with one more digit would give away what the newest checkpoint needs."""
    folder = tmp_path / "queue"
    scene = Scene(PosixStore(folder, create=True))
    (name,) = publish(scene, 1)
    producer = scene.producer(1)
    for start in range(8, 48, 8):
        producer.publish(make_batch(range(start, start + 8)), 1)
    planner = scene.planner()
    planner.tick()
    for step in range(2, 5):
        planner.plan(step, 8, 1)
        planner.trained(step)
    planner.commit([planner.state_dict()])
    collect_garbage(scene.store)
    needed = dict(planner.state_dict()["floor"])
    whole = scene.store.get(file)
    kept = set(folder.rglob("*.parquet"))
    for damaged in flips(whole):
        scene.store.replace(file, damaged)
        try_to_collect(scene.store)
        assert set(folder.rglob("*.parquet")) == kept
        scene.store.replace("WATERMARK.json", b"{}")
    shutil.rmtree(folder / "c")
    assert needed
    assert load_watermark(scene.store) == {}
