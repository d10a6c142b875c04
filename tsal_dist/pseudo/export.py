"""A topic as one parquet file for people: lists instead of packed bytes, and where every row came from."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsal_dist.exchange.store import NameAbsent
from tsal_dist.outputs import written_whole
from tsal_dist.pseudo.log import Record
from tsal_dist.pseudo.schema import BITS, Column, Field, Strings
from tsal_dist.pseudo.segment import DamagedSegment, decode_segment, verify_segment
from tsal_dist.pseudo.survey import living_segments
from tsal_dist.pseudo.topic import Topic, segment_name

log = logging.getLogger(__name__)


def export_topic(topic: Topic, target: Path) -> tuple[int, int]:
    """Write every committed row to `target`; returns the rows written and the segments that could not be read.

    Points are lists of K·2 numbers x0 y0 x1 y1 ..., scores and validity lists of K, beside `producer` and `segment`.
    """
    rows = skipped = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    schema = _friendly_schema(topic)
    with written_whole(target) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for producer, record in living_segments(topic):
            try:
                table = _friendly_table(topic, producer, record)
            except (DamagedSegment, NameAbsent) as error:
                log.warning("Left out: %s", error)
                skipped += 1
                continue
            writer.write_table(table)
            rows += len(table)
    return rows, skipped


def _friendly_schema(topic: Topic) -> pa.Schema:
    fields: list[tuple[str, Any]] = [("producer", pa.string()), ("segment", pa.int64())]
    return pa.schema(fields + [(field.name, _friendly_type(field)) for field in topic.schema.all_fields])


def _friendly_table(topic: Topic, producer: str, record: Record) -> pa.Table:
    name = segment_name(producer, record.seq)
    data = topic.store.get(name)
    verify_segment(data, record.size, record.digest, topic.store.where(name))
    columns = decode_segment(data, topic.schema, topic.store.where(name))
    arrays: list[Any] = [pa.array([producer] * record.rows), pa.array([record.seq] * record.rows, pa.int64())]
    arrays += [_friendly(field, columns[field.name]) for field in topic.schema.all_fields]
    return pa.Table.from_arrays(arrays, schema=_friendly_schema(topic))


def _friendly_type(field: Field) -> Any:
    if isinstance(field.zeros(0), Strings):
        return pa.string()
    plain: Any = pa.bool_() if field.dtype == BITS else pa.from_numpy_dtype(np.dtype(field.dtype))
    return pa.list_(plain) if field.shape else plain


def _friendly(field: Field, column: Column) -> Any:
    if isinstance(column, Strings):
        return pa.array(column.tolist(), pa.string())
    flat: Any = pa.array(np.ascontiguousarray(column).reshape(-1))
    if not field.shape:
        return flat
    width = int(np.prod(field.shape))
    ends: Any = pa.array(np.arange(len(column) + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(ends, flat)
