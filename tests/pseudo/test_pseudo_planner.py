"""The planner and the consumer: equal counts, order, reuse, staleness, dedupe, state, plan log."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes_rows import Scene, make_batch, planned_rows, rows_are_true
from tests.fakes_store import CountingStore, FaultyStore
from tsal_dist.errors import CheckpointError, ConfigError, DataError, ExchangeError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.admission import RecentUnits, unit_runs
from tsal_dist.pseudo.collect import collect_garbage, load_watermark
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import LoggedPlans, Plan, PlanLog, load_plans
from tsal_dist.pseudo.topic import segment_name

NAME = "teacher-r0000-000001"


def filled(store=None, batches=3, unit=1, rows=8, rank=0, first=0, step=0):
    scene = Scene(store or MemoryStore(), unit)
    publish(scene, batches, rows, rank, first, step)
    return scene


def publish(scene, batches=3, rows=8, rank=0, first=0, step=0):
    producer = scene.producer(rank)
    for number in range(batches):
        start = first + number * rows
        producer.publish(make_batch(range(start, start + rows)), step)
    producer.flush()
    return producer


def ready(scene, **kwargs):
    planner = scene.planner(**kwargs)
    planner.tick()
    return planner


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=12),
    unit=st.integers(1, 3),
)
def test_every_rank_gets_the_same_number_whatever_the_world(sizes, shapes, unit):
    """Q4, Q5: worlds that change from step to step share the rows out without loss, repeat or gap."""
    scene = Scene(MemoryStore(), unit)
    producer, first = scene.producer(max_rows=6 * unit), 0
    for size in sizes:
        producer.publish(make_batch(range(first, first + size * unit)), 0)
        first += size * unit
    producer.flush()
    planner, rows = ready(scene), []
    for step, (world, clips) in enumerate([*shapes, *[(1, 1)] * first]):
        plan = planner.plan(step, clips * unit, world)
        assert {sum(map(len, rank)) for rank in plan.ranks} == {clips * unit - plan.short_rows}
        assert len(plan.ranks) == world
        assert all(len(part) % unit == 0 and part.start % unit == 0 for part in plan.ranges())
        planner.trained(step)
        rows += planned_rows(plan)
    assert len(rows) == first
    assert rows == sorted(set(rows))


def test_producers_take_turns_a_segment_each():
    scene = filled(rank=0, batches=2)
    publish(scene, rank=1, batches=2, first=100)
    planner = ready(scene)
    order = [planner.plan(step, 8, 1).ranks[0][0].producer[10:13] for step in range(4)]
    assert order == ["000", "001", "000", "001"]


@pytest.mark.parametrize("drawn", [2, 3, 4])
def test_successors_take_the_turns_of_those_before_them(drawn):
    """Which rank of the student trains on whose rows is the same whether or not the run was killed meanwhile."""
    scene = filled(rank=0, batches=2)
    publish(scene, rank=1, batches=2, first=100)
    planner, turns = ready(scene), []
    for step in range(6):
        if step == drawn:
            state, planner = planner.state_dict(), scene.planner()
            planner.load_state_dict(state)
            for rank in (0, 1):
                scene.producer(rank, 2).publish(make_batch(range(300 + rank * 50, 308 + rank * 50)), 0)
            planner.tick()
        turns.append(planner.plan(step, 8, 1).ranks[0][0].producer[10:13])
    assert turns == ["000", "001"] * 3


def test_asking_again_gives_the_same_plan_until_it_is_trained():
    planner = ready(filled())
    first, second = planner.plan(0, 2, 2), planner.plan(1, 2, 2)
    assert planner.plan(0, 2, 2) is first
    other = planner.plan(0, 4, 2)  # another shape: both steps are planned anew, from the same rows
    assert planned_rows(other) == planned_rows(first) + planned_rows(second)
    assert planner.counts()[NAME]["delivered"] == 8


@pytest.mark.parametrize("reuse", [1, 2, 4])
def test_rows_are_reused_up_to_max_reuse(reuse):
    planner, uses = ready(filled(), max_reuse=reuse), []
    for step in range(40):
        plan = planner.plan(step, 4, 1)
        planner.trained(step)
        uses += [(row, part.use) for part in plan.ranges() for row in planned_rows(Plan(0, 0, ((part,),)))]
        assert len(set(planned_rows(plan))) == plan.rows_per_rank  # never twice in one step
    assert len(uses) == 24 * reuse
    by_row = {}
    for row, use in uses:
        by_row.setdefault(row, []).append(use)
    assert all(found == list(range(1, reuse + 1)) for found in by_row.values())


def test_reuse_is_the_loops_choice():
    planner = ready(filled(batches=1), max_reuse=3)
    planner.plan(0, 8, 1)
    planner.trained(0)
    assert planner.reusable_rows == 8
    assert planner.plan(1, 4, 1, reuse=False).short_rows == 4
    assert planner.plan(2, 4, 1).reused_rows == 4


def test_stale_rows_are_dropped_and_counted_by_video():
    scene = Scene(MemoryStore())
    producer = scene.producer()
    for step in (0, 10, 20):
        producer.publish(make_batch(range(step, step + 8)), step)
    planner = ready(scene, staleness=Staleness(0.99, max_lag_steps=15))
    plan = planner.plan(25, 8, 2)
    assert {part.teacher_step for part in plan.ranges()} == {10, 20}
    assert plan.reasons == {"stale": 8}
    assert planner.intake.dropped_by_video == {"video-0": 8}
    assert planner.counts()[NAME]["trimmed"] == 8


def test_rows_that_grow_stale_while_they_wait_are_not_reused_nor_handed_out():
    planner = ready(filled(), staleness=Staleness(0.99, max_lag_steps=3), max_reuse=5)
    planner.plan(3, 4, 1)
    plan = planner.plan(4, 4, 1)
    assert plan.rows_per_rank == 0
    assert planner.counts()[NAME]["trimmed"] == 20


@pytest.mark.parametrize(("alpha", "rho"), [(0.99, 0.5), (0.9, 0.1), (0.999, 0.01), (0.5, 0.5)])
def test_rho_and_its_bound_in_steps_agree(alpha, rho):
    policy = Staleness(alpha, rho)
    for lag in range(2000):
        assert policy.admits(lag, 0) == (policy.rho(lag, 0) <= rho + 1e-9)
        assert policy.rho(lag, 0) == pytest.approx(1 - alpha**lag)
        assert policy.weight(lag, 0) == pytest.approx(alpha**lag)
    assert policy.lag_steps(5, 9) == 0


def test_the_bound_is_asserted_where_rows_are_consumed():
    scene = filled()
    plan = ready(scene).plan(100, 4, 1)
    consumer = scene.consumer()
    consumer._staleness = Staleness(0.99, max_lag_steps=50)
    with pytest.raises(ExchangeError, match="100 steps stale, the bound is 50"):
        consumer.fetch(plan)
    with pytest.raises(ConfigError, match="alpha"):
        Staleness(0.0)


def test_a_clip_that_was_labelled_twice_with_the_same_weights_is_trained_once():
    scene = filled(batches=2)
    publish(scene, batches=2, rank=1)  # the same clips, the same step
    publish(scene, batches=1, rank=2, step=1)  # with newer weights it is another label
    planner = ready(scene)
    plan = planner.plan(0, 100, 1)
    assert plan.rows_per_rank == 16 + 8
    assert plan.reasons == {"duplicate": 16}


@given(st.lists(st.integers(0, 30), max_size=100), st.integers(1, 20))
def test_recent_units_remember_the_last_ones(keys, limit):
    recent, seen = RecentUnits(limit), []
    for key in keys:
        state = recent.state_dict()
        recent = RecentUnits(limit)
        recent.load_state_dict(state)
        assert recent.admit(np.array([key], np.uint64)).tolist() == [key not in seen]
        if key not in seen:
            seen = [*seen, key][-limit:]


def test_unit_runs():
    assert unit_runs(np.array([True, True, False, True]), 2) == [(0, 4), (6, 8)]
    assert unit_runs(np.zeros(0, bool), 2) == []


@pytest.mark.parametrize("stop", range(6))
def test_a_restored_planner_plans_what_the_first_would_have(stop):
    """With prefetched plans outstanding, rows to reuse in the pool and the same plan log in the end."""
    scene = filled(batches=4)

    def run(planner, steps):
        plans = []
        for step in steps:
            planner.tick()
            plans.append(planner.plan(step, 3, 2))
            planner.plan(step + 1, 3, 2)
            if step == stop:
                break
            planner.trained(step)
        return plans

    whole = [plan for step in range(10) for plan in [None]]
    reference = ready(scene, max_reuse=2, seed=5)
    whole = []
    for step in range(10):
        whole.append(reference.plan(step, 3, 2))
        reference.trained(step)
    first = ready(scene, max_reuse=2, seed=5)
    run(first, range(10))
    state = json.loads(json.dumps(first.state_dict()))
    again = ready(scene, max_reuse=2, seed=99)
    again.load_state_dict(state)
    again.tick()
    for step in range(stop, 10):
        assert again.plan(step, 3, 2) == whole[step]
        again.trained(step)


def test_the_state_of_another_queue_is_refused():
    state = ready(filled()).state_dict()
    with pytest.raises(CheckpointError, match="Resume in the run directory"):
        ready(filled()).load_state_dict(state)


def test_a_failing_store_loses_no_row_of_a_half_made_plan():
    scene = filled(batches=3)
    for at in range(1, 12):
        store = FaultyStore(scene.store, error=ExchangeError)
        planner = ready(scene, store=store)
        store.at = store.count + at
        first = planned_rows(planner.plan(0, 24, 1))  # short of what could not be read
        store.at = -1
        rows = first + planned_rows(planner.plan(1, 24, 1))
        assert len(rows) == len(set(rows)) == 24


def test_too_many_damaged_segments_end_the_run():
    scene = filled(batches=12)
    for seq in range(12):
        scene.store.files[segment_name(NAME, seq)] = b"PAR1"
    planner = ready(scene)
    with pytest.raises(ExchangeError, match="9 of 9 segments .* were damaged"):
        planner.plan(0, 8, 1)


def test_a_segment_that_rots_after_it_was_planned_keeps_the_counts_equal(caplog):
    scene = filled(batches=2)
    planner = ready(scene, max_reuse=3)
    plan = planner.plan(0, 12, 1)
    scene.store.files[segment_name(NAME, 0)] = b"rot"
    consumer = scene.consumer()
    delivery = consumer.fetch(plan)
    assert len(delivery) == 12
    assert delivery.fresh_N.tolist() == [0.0] * 8 + [1.0] * 4
    assert not delivery.columns["heatmap_valid"][:8].any()
    assert consumer.fetch(plan).fresh_N.tolist() == delivery.fresh_N.tolist()
    assert caplog.text.count("weight 0") == 1, "what is damaged is not read again"
    for (producer, seq), fault in consumer.damaged.items():
        planner.condemn(producer, seq, fault)
    assert {seq for _, seq, _ in planned_rows(planner.plan(1, 12, 1))} == {1}


def test_a_consumer_reads_each_segment_once_and_in_order(monkeypatch):
    store = CountingStore(MemoryStore())
    scene = filled(store, batches=6)
    planner, consumer = ready(scene), scene.consumer()
    plans = [planner.plan(step, 5, 1) for step in range(9)]
    before = store.counts["get"]
    monkeypatch.setattr("tsal_dist.pseudo.consumer.KEEP_SEGMENTS", 2)
    ids = []
    for plan in plans:
        delivery = consumer.fetch(plan)
        user = {
            name: delivery.columns[name]
            for name in ("sample_id", "frame", "box", "heatmap_xy", "track_valid")
        }
        assert np.array_equal(user["heatmap_xy"][:, 0, 0], user["sample_id"].astype(np.float32))
        ids += user["sample_id"].tolist()
        assert (delivery.use_N == 1).all()
        assert len(consumer._segments) <= 2
    assert ids == list(range(45))
    assert store.counts["get"] - before == 6
    assert rows_are_true(make_batch(ids).columns())


def test_the_plan_log_replays_the_run(tmp_path):
    scene = filled()
    path = tmp_path / "metrics" / "plan.jsonl"
    log = PlanLog(path)
    planner = ready(scene, plan_log=log, max_reuse=2)
    made = []
    for step in range(5):
        made.append(planner.plan(step, 2, 2))
        planner.trained(step)
        if step == 2:
            state = json.loads(json.dumps(planner.state_dict()))
    log.close()
    path.write_bytes(path.read_bytes()[:-10])  # the crash tore the last line
    log = PlanLog(path)
    again = ready(scene, plan_log=log)
    again.load_state_dict(state)
    again.tick()
    for step in (3, 4):
        again.plan(step, 2, 2)
        again.trained(step)
    log.close()
    assert [plan.step for plan in load_plans(path)] == [0, 1, 2, 3, 4]
    replay = LoggedPlans(path)
    assert [replay.plan(step, 2, 2) for step in range(5)] == made
    with pytest.raises(DataError, match="no step 0 for 3 ranks"):
        replay.plan(0, 2, 3)
    path.write_text("{}\n")
    with pytest.raises(DataError, match="line 1"):
        load_plans(path)


def test_counts_that_are_no_whole_clips_are_refused():
    with pytest.raises(ConfigError, match="clips of 2"):
        ready(filled(unit=2)).plan(0, 3, 1)
    with pytest.raises(ConfigError, match="max_reuse"):
        ready(filled(), max_reuse=0)


# ---- Q7: collection


def test_only_what_no_kept_checkpoint_needs_is_collected():
    scene = filled(batches=6)
    planner = ready(scene)
    states = []
    for step in range(4):
        planner.plan(step, 8, 1)
        planner.trained(step)
        states.append(planner.state_dict())
    assert collect_garbage(scene.store) == 0  # nothing is committed yet
    planner.commit(states[1:3])
    assert collect_garbage(scene.store, dry_run=True) == 2
    assert collect_garbage(scene.store) == 2
    assert load_watermark(scene.store) == {NAME: 2}
    assert collect_garbage(scene.store) == 0
    again = ready(scene)
    again.load_state_dict(states[1])
    again.tick()
    assert len(planned_rows(again.plan(2, 100, 1))) == 32
    late = ready(scene)  # a new reader finds the collected rows trimmed, not lost
    assert len(planned_rows(late.plan(0, 100, 1))) == 32
    assert late.counts()[NAME]["trimmed"] == 16


def test_rows_to_reuse_and_prefetched_plans_hold_their_segments():
    scene = filled(batches=3)
    planner = ready(scene, max_reuse=2)
    planner.plan(0, 8, 1)
    planner.trained(0)
    planner.commit([planner.state_dict()])
    assert collect_garbage(scene.store) == 0
    other = filled(batches=3)
    planner = ready(other)
    for step in range(3):
        planner.plan(step, 8, 1)
    planner.trained(0)
    planner.commit([planner.state_dict()])
    assert collect_garbage(other.store) == 1


def test_a_silent_group_keeps_its_segments():
    scene = filled(batches=3)
    planner = ready(scene)
    scene.store.put_new("c/monitor.json", b"")
    planner.plan(0, 24, 1)
    planner.trained(0)
    planner.commit([planner.state_dict()])
    assert collect_garbage(scene.store) == 0
    scene.store.delete("c/monitor.json")
    assert collect_garbage(scene.store) == 3
