"""A segment: one immutable parquet file of one row group, and how it is encoded, decoded and verified.

Points are `fixed_size_binary` without dictionary, statistics or compression: that writes and reads an order of
magnitude faster than a list column, and numpy sees the decoded buffer without a copy. A digest of the whole file stands
in the log record and is verified by every read through the queue; it covers the footer too, which parquet's own page
checksums do not. XXH3, because zlib's CRC-32 took longer than encoding and decoding together.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tsal_dist.arrow import to_arrow, to_numpy
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import Bytes
from tsal_dist.pseudo.schema import BITS, TEXT, Column, Columns, Field, Schema, Strings

ABOUT = b"tsal"
"""Key of the file's metadata: JSON with the queue, the producer, the segment's number and the schema."""
COLUMN_ROOM = 4096
"""Bytes that a column may need beyond its values: headers, dictionary indices, its place in the footer."""


class DamagedSegment(ExchangeError):
    """A segment whose bytes are not those that were committed."""


def encode_segment(schema: Schema, columns: Columns, about: Mapping[str, Any]) -> memoryview:
    """The file's bytes. Columns must fit the schema, see `check_columns`."""
    arrays = [_to_arrow(field, columns[field.name]) for field in schema.all_fields]
    names = [field.name for field in schema.all_fields]
    texts: Any = [field.name for field in schema.all_fields if field.dtype == TEXT]
    text = json.dumps({**about, "schema": None})[: -len("null}")] + schema.text + "}"
    table = pa.table(dict(zip(names, arrays, strict=True)))
    # Room for all of it at once: a growing buffer would copy what it holds again and again.
    room: Any = pa.allocate_buffer(table.nbytes + len(arrays) * COLUMN_ROOM + 8 * len(text))
    sink = pa.FixedSizeBufferWriter(room)
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="none",
        use_dictionary=texts,
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=max(1, len(table)))
        writer.add_key_value_metadata({ABOUT.decode(): text})
    return memoryview(room)[: sink.tell()]


def checksum(data: Bytes) -> int:
    """The low half of XXH3-64: what a log record has room for."""
    return xxhash.xxh3_64_intdigest(data) & 0xFFFF_FFFF


def verify_segment(data: Bytes, size: int, digest: int, place: str) -> None:
    """Raise DamagedSegment unless these are the bytes that the log record promises."""
    if len(data) != size:
        raise DamagedSegment(f"{place} has {len(data)} bytes, {size} were committed.")
    if checksum(data) != digest:
        raise DamagedSegment(f"{place} differs from what was committed: its checksum does not match.")


def decode_segment(
    data: Bytes, schema: Schema, place: str, *, only: tuple[str, ...] | None = None
) -> Columns:
    """Columns as `schema` knows them, of bytes that `verify_segment` has passed."""
    wanted = [field for field in schema.all_fields if only is None or field.name in only]
    try:
        file = pq.ParquetFile(
            pa.BufferReader(pa.py_buffer(data)),
            read_dictionary=[field.name for field in wanted if field.dtype == TEXT],
        )
        present = set(file.schema_arrow.names)
        table = file.read([field.name for field in wanted if field.name in present], use_threads=False)
        return {
            field.name: _to_numpy(field, table.column(field.name))
            if field.name in present
            else field.zeros(len(table))
            for field in wanted
        }
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DamagedSegment(f"{place} cannot be read as parquet: {str(error).splitlines()[0]}") from error


def about_segment(data: Bytes) -> dict[str, Any]:
    """The JSON that `encode_segment` was given, with the schema under `schema`."""
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(data))).metadata or {}
    about: dict[str, Any] = json.loads(metadata.get(ABOUT, b"{}"))
    return about


def _to_arrow(field: Field, column: Column) -> Any:
    if isinstance(column, Strings):
        return pa.DictionaryArray.from_arrays(to_arrow(column.codes), _texts(column.names))
    if field.dtype == BITS:
        return _packed(np.packbits(column, axis=1, bitorder="little"))
    typed = np.ascontiguousarray(column, np.dtype(field.dtype).newbyteorder("<"))
    return _packed(typed) if field.shape else to_arrow(typed)


def _texts(names: Sequence[str]) -> Any:
    raw = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, raw)], dtype=np.int32).tobytes()
    return pa.StringArray.from_buffers(len(raw), pa.py_buffer(ends), pa.py_buffer(b"".join(raw)))


def _packed(rows: Any) -> Any:
    width = rows[:1].nbytes if len(rows) else rows.itemsize * int(np.prod(rows.shape[1:]))
    return pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def _to_numpy(field: Field, chunked: Any) -> Column:
    array = chunked.chunk(0) if chunked.num_chunks else pa.nulls(0, chunked.type)  # one row group, one chunk
    if field.dtype == TEXT:
        return Strings(to_numpy(array.indices), tuple(array.dictionary.to_pylist()))
    if not field.shape:
        return to_numpy(array).astype(field.dtype, copy=False)
    width = array.type.byte_width
    raw = np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, array.offset * width)
    if field.dtype == BITS:
        bits = np.unpackbits(raw.reshape(len(array), width), axis=1, count=field.shape[0], bitorder="little")
        return bits.view(np.bool_)
    dtype = np.dtype(field.dtype).newbyteorder("<")
    return raw.view(dtype).reshape(len(array), *field.shape)
