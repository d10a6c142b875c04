"""Schemas, columns and segments: encode and decode are inverses, and only what can be read is opened (Q11)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fakes_rows import SOURCES, Scene, make_batch, make_feedback, same_columns, small_schema
from tsal_dist.errors import ConfigError, DataError, ExchangeError, StaleRun
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.schema import (
    BITS,
    TEXT,
    FeedbackBatch,
    Field,
    LabelBatch,
    Schema,
    SourceColumns,
    Strings,
    check_columns,
    feedback_schema,
    join_columns,
    labels_schema,
    slice_columns,
)
from tsal_dist.pseudo.segment import (
    DamagedSegment,
    about_segment,
    checksum,
    decode_segment,
    encode_segment,
    verify_segment,
)
from tsal_dist.pseudo.topic import inspect_topic, open_topic, producer_name, split_producer


def stamped(batch, step=3):
    n = len(batch)
    stamps = {
        "teacher_step": np.full(n, step),
        "teacher_rank": np.zeros(n, np.int16),
        "t_ns": np.zeros(n, np.int64),
    }
    return batch.columns() | stamps


@st.composite
def columns_of(draw, schema):
    rows = draw(st.integers(0, 9))
    out = {}
    for field in schema.all_fields:
        if field.dtype == TEXT:
            out[field.name] = Strings.of(draw(st.lists(st.text(max_size=5), min_size=rows, max_size=rows)))
        else:
            dtype = np.dtype(np.bool_ if field.dtype == BITS else field.dtype)
            # Floats by their bits: every one there is, and Hypothesis needs seconds to think of halves.
            drawn = np.dtype(f"u{dtype.itemsize}") if dtype.kind == "f" else dtype
            out[field.name] = draw(hnp.arrays(drawn, (rows, *field.shape))).view(dtype)
    return out


def same_bits(left, right):
    if isinstance(left, Strings):
        return left.tolist() == right.tolist()
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


@pytest.mark.parametrize(
    "schema",
    [
        labels_schema(9, ["heatmap"]),
        labels_schema(2, [SourceColumns("look", "feature", "float16", (3,))]),
        feedback_schema(),
    ],
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_encode_and_decode_are_inverses(schema, data):
    columns = data.draw(columns_of(schema))
    check_columns(schema, columns)
    raw = encode_segment(schema, columns, {"seq": 7})
    back = decode_segment(raw, schema, "x")
    assert all(same_bits(columns[name], back[name]) for name in columns)
    assert about_segment(raw)["seq"] == 7
    assert Schema.from_json(about_segment(raw)["schema"]) == schema


def test_join_and_slice_columns():
    parts = [stamped(make_batch(range(start, start + 5))) for start in (0, 40, 3)]
    whole = join_columns(parts)
    assert same_columns(slice_columns(whole, slice(5, 10)), parts[1])
    assert whole["video"].tolist() == [name for part in parts for name in part["video"].tolist()]


def test_label_and_feedback_batches_come_back():
    batch = make_batch(range(6))
    again = LabelBatch.from_columns(batch.columns(), SOURCES)
    assert same_columns(again.columns(), batch.columns())
    feedback = make_feedback(range(6))
    assert same_columns(FeedbackBatch.from_columns(feedback.columns()).columns(), feedback.columns())


def test_columns_that_do_not_fit_are_refused():
    schema, columns = small_schema(), stamped(make_batch(range(4)))
    with pytest.raises(DataError, match="fb_error"):
        check_columns(schema, {name: column for name, column in columns.items() if name != "fb_error"})
    with pytest.raises(DataError, match=r"'box' has shape \(4, 3\)"):
        check_columns(schema, columns | {"box": columns["box"][:, :3]})


def test_every_flipped_byte_is_seen_before_it_is_decoded():
    raw = bytes(encode_segment(small_schema(), stamped(make_batch(range(64))), {}))
    digest = checksum(raw)
    verify_segment(raw, len(raw), digest, "x")
    for place in range(len(raw)):
        bad = bytearray(raw)
        bad[place] ^= 4
        with pytest.raises(DamagedSegment, match="checksum"):
            verify_segment(bad, len(raw), digest, "x")


def test_additive_columns_are_read_both_ways():
    old, new = small_schema(), small_schema(sources=(*SOURCES, "rgb"))
    rows = make_batch(range(4), sources=(*SOURCES, "rgb"))
    read_by_old = decode_segment(encode_segment(new, stamped(rows), {}), old, "x")
    assert same_columns(read_by_old, make_batch(range(4)).columns())
    read_by_new = decode_segment(encode_segment(old, stamped(make_batch(range(4))), {}), new, "x")
    assert same_columns(read_by_new, make_batch(range(4)).columns())
    assert not read_by_new["rgb_valid"].any()
    check_columns(new, read_by_new)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            Schema("labels", small_schema().fields, major=2, points=3, sources=SOURCES),
            "major 1, this process expects 2",
        ),
        (labels_schema(5, SOURCES), "points 3, this process expects 5"),
        (small_schema(unit=4), "unit 1, this process expects 4"),
        (replace(small_schema(), fields=(Field("box", "float16", (4,)),)), "float32"),
        (feedback_schema(), "topic 'labels'"),
    ],
)
def test_what_cannot_be_read_is_refused_at_open(other, words):
    store = MemoryStore()
    open_topic(store, small_schema(), "run")
    with pytest.raises(ExchangeError, match=words):
        open_topic(store, other, "run")


def test_a_foreign_queue_a_missing_one_and_another_protocol():
    store = MemoryStore()
    with pytest.raises(ConfigError, match=r"QUEUE\.json is missing"):
        inspect_topic(store)
    first = open_topic(store, small_schema(), "run")
    assert open_topic(store, small_schema(), "run").uuid == first.uuid
    assert inspect_topic(store).schema == small_schema()
    with pytest.raises(StaleRun, match="belongs to run run"):
        open_topic(store, small_schema(), "other")
    store.replace("QUEUE.json", b'{"protocol": 9}')
    with pytest.raises(ExchangeError, match="protocol 9"):
        open_topic(store, small_schema(), "run")
    store.replace("QUEUE.json", b"{")
    with pytest.raises(ExchangeError, match="not JSON"):
        open_topic(store, small_schema(), "run")


def test_a_store_that_ignores_the_condition_of_a_put_is_found_out():
    class Careless(MemoryStore):
        def put_new(self, name, data):
            self.replace(name, data)

    with pytest.raises(ExchangeError, match="conditional puts"):
        open_topic(Careless(), small_schema(), "run")


def test_producers_of_another_schema_are_not_read_and_do_not_stop_the_others():
    scene = Scene(MemoryStore())
    scene.producer().publish(make_batch(range(8)), 0)
    foreign = Scene(MemoryStore(), schema=labels_schema(4, SOURCES)).producer(rank=1)
    scene.store.files |= {
        name: data for name, data in foreign.topic.store.files.items() if name.startswith("p/")
    }
    planner = scene.planner()
    planner.tick()
    assert list(planner.intake.refused) == ["teacher-r0001-000001"]
    assert planner.plan(0, 8, 1).fresh_rows == 8


def test_producer_names():
    assert split_producer(producer_name("teacher", 12, 3)) == ("teacher", 12, 3)
    for crew in ("night", "r0000"):  # which looks like a rank
        assert split_producer(producer_name(f"teacher-{crew}", 12, 3)) == (f"teacher-{crew}", 12, 3)
    with pytest.raises(ConfigError, match="no name of a producer"):
        producer_name("../x", 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"unit": 0},
        {"points": -1},
        {"minor": "1"},
        {"fields": 5},
        {"fields": [{"name": "a", "dtype": "f8,(", "shape": []}]},
        {"fields": [{"name": "a", "dtype": "object", "shape": []}]},
        {"fields": [{"name": "a", "dtype": 5, "shape": []}]},
        {"fields": [{"name": "a", "dtype": "float32", "shape": [-1]}]},
    ],
    ids=str,
)
def test_a_schema_that_was_edited_is_refused_by_place(change):
    with pytest.raises(ExchangeError, match=r"somewhere holds no schema of rows"):
        Schema.parse(small_schema().to_json() | change, "somewhere")
    assert Schema.parse(small_schema().to_json(), "somewhere") == small_schema()
