"""The log of a producer: one 64-byte record per segment. A segment is committed if and only if its record is whole.

Record number i sits at byte 64·i, so a repeated or torn append can always be overwritten in place by its one writer,
and a reader that stands at record n needs one read to learn everything new. Where the store cannot append, record i
is an object of its own, put after the data and never overwritten; a reader lists what comes after its last one.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from tsal_dist.exchange.store import NameTaken, Store

MAGIC = 0x5154
VERSION = 1
FORMAT = struct.Struct("<HBBIQQIQIqQII")
RECORD_BYTES = FORMAT.size
RECORDS_PER_READ = 16_384


class Kind(IntEnum):
    """What a record says."""

    DATA = 1
    SEAL = 2  # the producer has left; nothing will follow


@dataclass(frozen=True, slots=True)
class Record:
    """One commit."""

    kind: Kind
    seq: int
    first_row: int
    """Rows committed before this segment by the same producer."""
    rows: int
    size: int
    digest: int
    step: int
    """The teacher's step: the student step its weights have absorbed."""
    t_ns: int
    schema: int
    """First 32 bits of the schema's fingerprint."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A slot whose record is broken although later ones exist: what it committed is lost."""

    seq: int


def encode_record(record: Record) -> bytes:
    body = FORMAT.pack(
        MAGIC,
        VERSION,
        record.kind,
        0,
        record.seq,
        record.first_row,
        record.rows,
        record.size,
        record.digest,
        record.step,
        record.t_ns,
        record.schema,
        0,
    )[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


def decode_record(data: bytes, seq: int) -> Record | None:
    """The record in slot `seq`, or None where the slot is torn, damaged or another's."""
    if len(data) != RECORD_BYTES:
        return None
    magic, version, kind, _, at, first_row, rows, size, digest, step, t_ns, schema, check = FORMAT.unpack(
        data
    )
    if check != zlib.crc32(data[:-4]) or (magic, version, at) != (MAGIC, VERSION, seq):
        return None
    if kind not in set(Kind):
        return None
    return Record(Kind(kind), at, first_row, rows, size, digest, step, t_ns, schema)


def log_name(producer: str) -> str:
    return f"p/{producer}/LOG"


def record_name(producer: str, seq: int) -> str:
    return f"p/{producer}/l/{seq:012d}"


def create_log(store: Store, producer: str) -> None:
    if store.appends:
        store.put_new(log_name(producer), b"")


def append_record(store: Store, producer: str, record: Record) -> None:
    """Commit. Safe to repeat with the same record after any failure."""
    data = encode_record(record)
    if store.appends:
        store.append(log_name(producer), data, at=record.seq * RECORD_BYTES)
        return
    try:
        store.put_new(record_name(producer, record.seq), data)
    except NameTaken:
        return  # nobody else writes here: this is the same record from a call whose reply was lost


class LogReader:
    """Follows one producer's log from record `start` on."""

    def __init__(self, store: Store, producer: str, start: int = 0) -> None:
        self._store = store
        self._producer = producer
        self.next = start

    def read(self) -> list[Record | Hole]:
        """What was committed since the last call: one operation on the store where nothing was."""
        found = self._read_file() if self._store.appends else self._read_objects()
        while found and found[-1] is None:
            found.pop()  # a torn tail: not committed, or not yet visible
        records = [Hole(self.next + i) if slot is None else slot for i, slot in enumerate(found)]
        self.next += len(records)
        return records

    def read_to(self, stop: int) -> list[Record | Hole]:
        """The records from where the reader stands up to number `stop`, as far as they are there."""
        found: list[Record | Hole] = []
        while self.next < stop and (more := self.read()):
            found += more
        return found[: len(found) - max(0, self.next - stop)]

    def _read_file(self) -> list[Record | None]:
        start = self.next * RECORD_BYTES
        data = self._store.get(log_name(self._producer), start, RECORDS_PER_READ * RECORD_BYTES)
        return [
            decode_record(data[at : at + RECORD_BYTES], self.next + at // RECORD_BYTES)
            for at in range(0, len(data), RECORD_BYTES)
        ]

    def _read_objects(self) -> list[Record | None]:
        after = f"{self.next - 1:012d}" if self.next else ""
        found: list[Record | None] = []
        for name in self._store.children(f"p/{self._producer}/l", after):
            seq = self.next + len(found)
            if name != f"{seq:012d}":
                break  # records are put in order, so a gap is a listing that lags
            found.append(decode_record(self._store.get(record_name(self._producer, seq)), seq))
        return found


def read_log(store: Store, producer: str) -> Iterator[Record | Hole]:
    """All that one producer has committed."""
    reader = LogReader(store, producer)
    while found := reader.read():
        yield from found
