"""Targets: the label queue as a torn disk, a broken producer or a stranger leaves it.

Damage may cost rows here, that is what quarantine is for. So what a target gives is what a student came to train on,
and the check is that every row of it is true, comes once, and is accounted for.
"""

import dataclasses
from pathlib import Path

import numpy as np

from tests.fakes_rows import Scene, make_batch, rows_are_true
from tests.fuzz.target import Target
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.collect import WATERMARK, collect_garbage, load_watermark
from tsal_dist.pseudo.cursor import cursor_name, load_cursors
from tsal_dist.pseudo.log import RECORD_BYTES, LogReader, decode_record, encode_record, log_name
from tsal_dist.pseudo.segment import checksum, decode_segment
from tsal_dist.pseudo.survey import lint_topic, survey_groups, survey_producers
from tsal_dist.pseudo.topic import QUEUE, inspect_topic, meta_name, segment_name

NAMES = (
    "queue log",
    "queue segment",
    "queue meta",
    "queue watermark",
    "queue file",
    "queue meta in tools",
    "queue cursor",
    "queue log in tools",
    "queue watermark in tools",
    "hostile segment",
    "bare segment",
)
NAME = "teacher-r0000-000001"
ROWS, SEGMENT = 24, 8


def targets(folder: Path) -> list[Target]:
    base, scene = _queue()
    log, middle = log_name(NAME), segment_name(NAME, 1)
    everything = list(range(ROWS))
    student = {"truth": everything, "place": "memory:/", "check": _check_ids}

    def trains(name, file):
        return Target(name, base.files[file], parse=lambda data: _train(base, {file: data}), **student)

    def looks(name, file):
        return Target(name, base.files[file], None, lambda data: _look(base, file, data), "memory:/")

    def survives(data):
        """A segment that its producer committed as it is: nobody warns of what is in it."""
        record = dataclasses.replace(_record(base, 1), size=len(data), digest=checksum(data))
        entries = base.files[log]
        entries = entries[:RECORD_BYTES] + encode_record(record) + entries[2 * RECORD_BYTES :]
        return _train(base, {middle: data, log: entries}, honest=False)

    def bare(data):
        return {name: len(column) for name, column in decode_segment(data, scene.schema, "memory:/x").items()}

    columns = {field.name: SEGMENT for field in scene.schema.all_fields}
    return [
        trains("queue log", log),
        trains("queue segment", middle),
        trains("queue meta", meta_name(NAME)),
        trains("queue watermark", WATERMARK),
        looks("queue file", QUEUE),
        looks("queue meta in tools", meta_name(NAME)),
        looks("queue cursor", cursor_name("student")),
        looks("queue log in tools", log),
        looks("queue watermark in tools", WATERMARK),
        Target("hostile segment", base.files[middle], everything, survives, "memory:/"),
        Target("bare segment", base.files[middle], columns, bare, "memory:/x", check=_check_equal_lengths),
    ]


def hostile_record(changes: dict[str, int]) -> list[int]:
    """What a student trains on when the second log record holds other numbers under a valid checksum."""
    base, _ = _queue()
    entries = base.files[log_name(NAME)]
    record = encode_record(dataclasses.replace(_record(base, 1), **changes))
    changed = entries[:RECORD_BYTES] + record + entries[2 * RECORD_BYTES :]
    found = _train(base, {log_name(NAME): changed})
    _check_ids(found)
    return found


def _queue():
    base = MemoryStore()
    scene = Scene(base)
    producer = scene.producer(max_rows=SEGMENT)
    producer.publish(make_batch(range(ROWS)), 1)
    producer.close()
    scene.planner().close()  # leaves a cursor
    base.replace(WATERMARK, b'{"%s": 0}' % NAME.encode())
    return base, scene


def _record(base, seq):
    entries = base.files[log_name(NAME)]
    return decode_record(entries[seq * RECORD_BYTES : (seq + 1) * RECORD_BYTES], seq)


def _train(base, files, honest=True):
    """A student that starts on the damaged queue and trains until nothing is left; the sample ids it saw."""
    store = MemoryStore()
    store.files = base.files | files
    scene = Scene.__new__(Scene)
    scene.store, scene.schema = store, Scene(MemoryStore()).schema
    scene.topic = scene.seen_through(store)
    planner, consumer = scene.planner(max_reuse=1), scene.consumer()
    planner.tick()
    seen = []
    for step in range(1, 2 * ROWS):
        plan = planner.plan(step, 4, 1)
        delivery = consumer.fetch(plan)
        good = delivery.fresh_N > 0
        columns = {name: _keep(column, good) for name, column in delivery.columns.items()}
        assert not honest or rows_are_true(columns), "damage changed a number"
        seen += columns["sample_id"].tolist()
        planner.trained(step)
        for (producer, seq), fault in consumer.damaged.items():
            planner.condemn(producer, seq, fault)
        consumer.damaged.clear()
    for name, count in planner.counts().items():
        committed = count.pop("committed")
        assert sum(count.values()) == committed, f"{name} lost or invented rows: {count} of {committed}"
        assert min(count.values()) >= 0, count
    planner.close()
    return seen


def _keep(column, good):
    if isinstance(column, np.ndarray):
        return column[good]
    return dataclasses.replace(column, codes=column.codes[good])


def _look(base, file, data):
    """What tools do with a queue: they belong to no run and meet every kind of file."""
    store = MemoryStore()
    store.files = base.files | {file: data}
    topic = inspect_topic(store)
    survey_producers(topic)
    survey_groups(topic)
    load_cursors(store)
    load_watermark(store)
    list(lint_topic(topic))
    collect_garbage(store, dry_run=True)
    list(LogReader(store, NAME).read())


def _check_ids(found):
    assert len(set(found)) == len(found), "a row was trained on twice"
    assert set(found) <= set(range(ROWS))


def _check_equal_lengths(found):
    assert len(set(found.values())) == 1, found
