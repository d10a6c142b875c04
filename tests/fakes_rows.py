"""Rows whose every number follows from their identity, so that a wrong one cannot hide."""

import numpy as np

from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.schema import FeedbackBatch, LabelBatch, Strings, labels_schema
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.topic import open_topic

POINTS = 3
SOURCES = ("heatmap", "track")
ANY_AGE = Staleness(alpha=0.99)


def small_schema(unit=1, **kwargs):
    return labels_schema(POINTS, kwargs.pop("sources", SOURCES), unit=unit, **kwargs)


def make_batch(sample_ids, points=POINTS, sources=SOURCES):
    """One row per sample id."""
    ids = np.asarray(sample_ids, np.uint64)
    base = ids.astype(np.float32)[:, None]
    k = np.arange(points, dtype=np.float32)[None]
    return LabelBatch(
        Strings.of([f"video-{i // 8}" for i in ids.tolist()]),
        (ids % 1000).astype(np.int32),
        ids,
        (ids % 7).astype(np.int32),
        (ids % 100).astype(np.int32),
        np.repeat(base, 4, 1),
        {s: np.stack([base + k + n, base - k - n], 2) for n, s in enumerate(sources)},
        {s: (base + k) / 1024 + n for n, s in enumerate(sources)},
        {
            s: (ids[:, None] + np.arange(points, dtype=np.uint64) + np.uint64(n)) % 3 > 0
            for n, s in enumerate(sources)
        },
        base * 2 + k,
    )


def make_feedback(sample_ids):
    ids = np.asarray(sample_ids, np.uint64)
    label = make_batch(ids)
    return FeedbackBatch(
        label.video, label.frame_N, ids, label.shard_N, label.index_N, ids.astype(np.float32) / 2
    )


def same_columns(left, right):
    """Whether all columns of `right` are in `left` with the same values."""
    for name, column in right.items():
        if isinstance(column, Strings):
            if left[name].tolist() != column.tolist():
                return False
        elif not np.array_equal(left[name], column):
            return False
    return True


def rows_are_true(columns):
    """Whether every row holds the numbers that belong to its sample id; what producers stamp on is their own."""
    ids = columns["sample_id"]
    return same_columns(columns, make_batch(ids).columns())


class Scene:
    """A small queue on `store`, with short ways to its parts."""

    def __init__(self, store, unit=1, schema=None):
        self.store = store
        self.schema = schema or small_schema(unit)
        self.topic = open_topic(store, self.schema, "run")

    def seen_through(self, store):
        """The same topic through another store object, as another process sees it."""
        return open_topic(store, self.schema, "run")

    def producer(self, rank=0, incarnation=1, store=None, **kwargs):
        topic = self.topic if store is None else self.seen_through(store)
        return Producer(topic, "teacher", rank, incarnation, **{"max_rows": 8} | kwargs)

    def planner(self, store=None, staleness=ANY_AGE, **kwargs):
        topic = self.topic if store is None else self.seen_through(store)
        return Planner(topic, "student", staleness, **{"discover_s": 0} | kwargs)

    def consumer(self, rank=0, store=None, **kwargs):
        topic = self.topic if store is None else self.seen_through(store)
        return Consumer(topic, rank, ANY_AGE, **kwargs)


def planned_rows(plan, use=None):
    """(producer, segment, row) of everything in a plan, in the order of ranks."""
    return [
        (part.producer, part.seq, row)
        for part in plan.ranges()
        if use is None or part.use == use
        for row in range(part.start, part.stop)
    ]
