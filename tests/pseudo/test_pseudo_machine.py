"""Q1–Q7 under every order of events that Hypothesis can think of.

Producers publish, fail, die, return as new incarnations and wake up as zombies; the planner plans for changing worlds,
fails, is killed and restored; garbage is collected and segments are damaged. An oracle of plain lists watches.
"""

import json
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fakes_rows import Scene, make_batch, rows_are_true
from tests.fakes_store import FaultyStore, LaggingStore
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.collect import collect_garbage
from tsal_dist.pseudo.log import Hole, LogReader
from tsal_dist.pseudo.topic import list_producers, segment_name

UNIT = 2
MAX_REUSE = 2


class Queue(RuleBasedStateMachine):
    @initialize(appends=st.booleans())
    def start(self, appends):
        self.base = MemoryStore(appends)
        self.scene = Scene(self.base, UNIT)
        self.next_id = 0
        self.producers = {}
        self.zombies = []
        self.incarnations = defaultdict(int)
        self.damaged = set()
        self.step = 0
        self.lineage = []  # rows trained on, with their use, in order; rolled back with the model
        self.client = LaggingStore(self.base)
        self.faulty = FaultyStore(self.client, error=ExchangeError)
        self.planner = self.scene.planner(self.faulty, max_reuse=MAX_REUSE, pool_rows=12)
        self.checkpoints = [(self.planner.state_dict(), 0, [])]
        self.start_producer(0)

    def start_producer(self, rank):
        self.incarnations[rank] += 1
        store = FaultyStore(self.base, error=ExchangeError)
        self.producers[rank] = (self.scene.producer(rank, self.incarnations[rank], store), store)

    # ---- producers

    @rule(
        rank=st.integers(0, 2),
        clips=st.integers(1, 7),
        fault=st.integers(0, 4),
        when=st.sampled_from(["before", "after", "half"]),
    )
    def publish(self, rank, clips, fault, when):
        """`fault` says which store operation from now on fails, 0 for none; the next call tries again."""
        if rank not in self.producers:
            self.start_producer(rank)
        producer, store = self.producers[rank]
        store.at, store.when = (store.count + fault if fault else -1), when
        ids = range(self.next_id, self.next_id + clips * UNIT)
        self.next_id += clips * UNIT
        try:
            producer.publish(make_batch(ids), teacher_step=self.step // 3)
        except ExchangeError:
            pass
        store.at = -1

    @rule(rank=st.integers(0, 2))
    def label_again(self, rank):
        """The same clips with the same weights, as a restarted teacher does."""
        if rank in self.producers and self.next_id:
            ids = range(max(0, self.next_id - 4), self.next_id)
            self.producers[rank][0].publish(make_batch(ids), teacher_step=self.step // 3)

    @rule(rank=st.integers(0, 2))
    def flush(self, rank):
        if rank in self.producers:
            self.producers[rank][0].flush()

    @rule(rank=st.integers(0, 2), leaves=st.sampled_from(["killed", "frozen", "sealed"]))
    def end_producer(self, rank, leaves):
        if rank in self.producers:
            producer, _ = self.producers.pop(rank)
            if leaves == "sealed":
                producer.close()
            if leaves == "frozen":
                self.zombies.append(producer)
            self.start_producer(rank)

    @precondition(lambda self: self.zombies)
    @rule()
    def zombie_wakes(self):
        self.zombies[-1].publish(make_batch(range(self.next_id, self.next_id + 8)), teacher_step=0)
        self.next_id += 8

    # ---- the reader

    @rule()
    def network_refreshes(self):
        self.client.refresh()

    @rule(rows=st.integers(1, 4), world=st.integers(1, 3), ahead=st.integers(1, 2), fault=st.integers(0, 6))
    def train(self, rows, world, ahead, fault):
        self.faulty.at = self.faulty.count + fault if fault else -1
        try:
            self.planner.tick()
            for step in range(self.step, self.step + ahead):
                self.planner.plan(step, rows * UNIT, world)
        except ExchangeError:
            self.faulty.at = -1
            return
        self.faulty.at = -1
        plan = self.planner.plan(self.step, rows * UNIT, world)
        counts = {sum(map(len, rank)) for rank in plan.ranks}
        assert len(plan.ranks) == world
        assert counts == {rows * UNIT - plan.short_rows}
        for rank in range(world):
            self.check_delivery(plan, rank)
        self.lineage += [
            ((part.producer, part.seq, row), part.use)
            for part in plan.ranges()
            for row in range(part.start, part.stop)
        ]
        self.planner.trained(self.step)
        self.step += 1

    def check_delivery(self, plan, rank):
        consumer = self.scene.consumer(rank)
        delivery = consumer.fetch(plan)
        assert set(consumer.damaged) <= self.damaged
        for key, fault in consumer.damaged.items():
            self.planner.condemn(*key, fault)
        good = delivery.fresh_N > 0
        columns = {name: column for name, column in delivery.columns.items() if name != "video"}
        ids = columns["sample_id"][good]
        truth = make_batch(ids).columns()
        assert len(delivery) == sum(map(len, plan.ranks[rank]))
        for name in ("heatmap_xy", "track_score", "heatmap_valid", "frame", "box"):
            assert (columns[name][good] == truth[name]).all()

    @rule()
    def checkpoint(self):
        state = json.loads(json.dumps(self.planner.state_dict()))
        self.checkpoints = [*self.checkpoints[-1:], (state, self.step, list(self.lineage))]
        self.planner.commit([state for state, _, _ in self.checkpoints])

    @rule(oldest=st.booleans())
    def crash_and_restore(self, oldest):
        state, self.step, lineage = self.checkpoints[0 if oldest else -1]
        self.lineage = list(lineage)
        self.planner = self.scene.planner(self.faulty, max_reuse=MAX_REUSE, pool_rows=12)
        self.planner.load_state_dict(state)

    @rule()
    def collect(self):
        collect_garbage(self.base)

    @rule(data=st.data())
    def damage(self, data):
        """Flip one bit of a committed segment, or lose it."""
        segments = [
            segment_name(producer, record.seq)
            for producer in list_producers(self.base)
            for record in LogReader(self.base, producer).read()
            if segment_name(producer, record.seq) in self.base.files
        ]
        if segments and len(self.damaged) < 3:
            name = data.draw(st.sampled_from(sorted(segments)))
            raw = bytearray(self.base.files[name])
            bit = data.draw(st.integers(0, 1 << 16)) % (8 * len(raw))  # file sizes vary with the clock
            raw[bit // 8] ^= 1 << bit % 8
            self.base.files[name] = bytes(raw)
            self.damaged.add((name.split("/")[1], int(name.split("/")[-1].split(".")[0])))

    # ---- what must always hold

    @invariant()
    def rows_are_conserved(self):
        for counts in self.planner.counts().values():
            assert counts["pending"] >= 0
            assert counts["committed"] == sum(
                counts[key] for key in ("delivered", "trimmed", "quarantined", "pending")
            )

    @invariant()
    def each_row_is_trained_once_per_use(self):
        uses = defaultdict(list)
        for row, use in self.lineage:
            uses[row].append(use)
        for found in uses.values():
            assert found == list(range(1, len(found) + 1))
            assert len(found) <= MAX_REUSE

    @invariant()
    def fresh_rows_keep_their_producers_order(self):
        last = {}
        for (producer, seq, row), use in self.lineage:
            if use == 1:
                assert last.get(producer, (-1, -1)) < (seq, row)
                last[producer] = (seq, row)

    def teardown(self):
        if not hasattr(self, "planner"):
            return
        self.client.refresh()
        for producer, _ in self.producers.values():
            producer.flush()
        self.planner.tick()
        planned = [True]
        while any(planned[-3:]):  # plans made ahead before the last rows came may be empty
            plan = self.planner.plan(self.step, UNIT, 1, reuse=False)
            planned.append(bool(plan.rows_per_rank))
            for part in plan.ranges():
                self.lineage += [
                    ((part.producer, part.seq, row), part.use) for row in range(part.start, part.stop)
                ]
            self.planner.trained(self.step)
            self.step += 1
        self.each_row_is_trained_once_per_use()
        fresh = defaultdict(int)
        for (producer, _, _), use in self.lineage:
            fresh[producer] += use == 1
        for name in list_producers(self.base):
            counts = self.planner.counts()[name]
            feed = self.planner.intake.feeds[name]
            committed = committed_rows(self.base, name, feed.fence)
            assert counts["committed"] == committed
            assert counts["pending"] == 0
            assert counts["delivered"] == fresh[name]
            if feed.quarantined["missing"]:
                assert any(producer == name for producer, _ in self.damaged)
        self.planner.close()


def committed_rows(store, producer, fence):
    """Straight from the log, without the planner."""
    records = LogReader(store, producer).read()
    assert not [record for record in records if isinstance(record, Hole)]
    return sum(record.rows for record in records if fence is None or record.seq < fence)


Queue.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestQueue = pytest.mark.slow(Queue.TestCase)


def test_the_oracle_sees_a_wrong_number():
    columns = make_batch(range(4)).columns()
    assert rows_are_true(columns)
    columns["track_score"] = columns["track_score"] + 1e-3
    assert not rows_are_true(columns)


def test_segment_names_hold_many():
    assert segment_name("teacher-r0000-000001", 1025) == (
        "p/teacher-r0000-000001/d/000001/000000001025.parquet"
    )
