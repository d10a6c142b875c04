"""A producer: gathers rows, publishes them as segments, commits each with one log record.

Every incarnation of a rank owns a directory of its own and never touches a predecessor's, so that a process which wakes
up late can spoil nothing. A segment holds rows of one teacher step and is flushed by rows or by age, whichever comes
first. A publication that fails (disk full, network gone) is kept, byte for byte, and tried again by the next call.
"""

import json
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tsal_dist import __version__
from tsal_dist.errors import DataError, DiskFull, QueueFull, StaleRun
from tsal_dist.exchange.store import NameAbsent, NameCut, NameTaken
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.log import Kind, Record, append_record, create_log, log_name
from tsal_dist.pseudo.schema import Columns, check_columns, join_columns, slice_columns
from tsal_dist.pseudo.segment import checksum, encode_segment
from tsal_dist.pseudo.topic import Topic, meta_name, producer_name, segment_name

log = logging.getLogger(__name__)


class Batch(Protocol):
    """What can be published: LabelBatch, FeedbackBatch."""

    def __len__(self) -> int: ...

    def columns(self) -> Columns: ...


@dataclass
class _Gathered:
    """The rows of a segment to be."""

    step: int
    since: float
    """When the first of them came."""
    pieces: list[Columns] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True)
class _Parcel:
    """A segment under way: everything needed to publish it again."""

    data: memoryview
    record: Record


class Producer:
    """The one writer of `p/<role>-r<rank>-<incarnation>/`. Not for several threads."""

    def __init__(
        self,
        topic: Topic,
        role: str,
        rank: int,
        incarnation: int,
        *,
        max_rows: int = 256,
        max_age_s: float = 5.0,
        credits: Credits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self.name = producer_name(role, rank, incarnation)
        self.committed_rows = 0
        self.committed_segments = 0
        self._rank = rank
        self._max_rows = max(max_rows // topic.schema.unit, 1) * topic.schema.unit
        self._max_age_s = max_age_s
        self._credits = credits
        self._clock = clock
        self._gathered: deque[_Gathered] = deque()
        """The last one is not full yet; there are others only while the store refuses them."""
        self._parcel: _Parcel | None = None
        self._enter(role, incarnation)

    def ready(self) -> bool:
        """Whether `publish` will take rows now; False while parked behind the readers."""
        return self._credits is None or self._credits.may_publish(self.committed_rows)

    def publish(self, batch: Batch, teacher_step: int) -> None:
        """Take the rows of `batch`, made by weights at `teacher_step`; flush what is due.

        Raises QueueFull while parked, and what keeps earlier rows from being published, without taking these. Where it is
        these that cannot be published they are kept, and the next call tries again.
        """
        if len(batch) % self.topic.schema.unit:
            raise DataError(
                f"{len(batch)} rows are no whole number of clips of {self.topic.schema.unit} frames."
            )
        self._send_full()
        if not self.ready():
            raise QueueFull(
                f"{self.name} is ahead of its readers by more than high water. Ask ready() before labelling more."
            )
        columns = self._stamped(batch, teacher_step)
        check_columns(self.topic.schema, columns)
        for start in range(0, len(batch), self._max_rows):
            self._gather(slice_columns(columns, slice(start, start + self._max_rows)), teacher_step)
        self._send_full()

    def tick(self) -> None:
        """Flush rows that have waited long enough; call it from every loop."""
        self._send_full()
        if self._gathered and self._clock() - self._gathered[0].since >= self._max_age_s:
            self.flush()

    def flush(self) -> None:
        """Publish what was gathered, however little."""
        self._send()
        while self._gathered:
            self._pack()
            self._send()

    def close(self) -> None:
        """Flush and say that nothing will follow. A producer that is killed instead is simply succeeded."""
        self.flush()
        self._commit(self._record(Kind.SEAL, 0, b"", 0))

    def _enter(self, role: str, incarnation: int) -> None:
        meta = {
            "queue": self.topic.uuid,
            "run_id": self.topic.run_id,
            "clips": self.topic.clips,
            "role": role,
            "rank": self._rank,
            "incarnation": incarnation,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_unix_s": time.time(),
            "version": __version__,
            "schema": self.topic.schema.to_json(),
        }
        try:
            create_log(self.topic.store, self.name)  # before META.json, which makes the producer visible
            self.topic.store.put_new(meta_name(self.name), json.dumps(meta, indent=1).encode())
        except NameTaken:
            raise StaleRun(
                f"{self.topic.store.where(self.name)} is already in use. Claim a new incarnation for this process."
            ) from None
        except DiskFull:
            self.topic.store.delete(log_name(self.name))  # nobody has seen it; so that it can be tried again
            raise

    def _stamped(self, batch: Batch, teacher_step: int) -> Columns:
        rows = len(batch)
        return {
            **batch.columns(),
            "teacher_step": np.full(rows, teacher_step, np.int64),
            "teacher_rank": np.full(rows, self._rank, np.int16),
            "t_ns": np.full(rows, time.time_ns(), np.int64),
        }

    def _gather(self, piece: Columns, step: int) -> None:
        rows = len(piece["frame"])
        last = self._gathered[-1] if self._gathered else None
        if last is None or last.step != step or last.rows + rows > self._max_rows:
            last = _Gathered(step, self._clock())
            self._gathered.append(last)
        last.pieces.append(piece)
        last.rows += rows

    def _send_full(self) -> None:
        self._send()
        while self._gathered and (len(self._gathered) > 1 or self._gathered[0].rows >= self._max_rows):
            self._pack()
            self._send()

    def _pack(self) -> None:
        gathered = self._gathered[0]
        pieces = gathered.pieces
        columns = pieces[0] if len(pieces) == 1 else join_columns(pieces)
        about = {
            "queue": self.topic.uuid,
            "producer": self.name,
            "seq": self.committed_segments,
            "teacher_step": gathered.step,
        }
        data = encode_segment(self.topic.schema, columns, about)
        self._parcel = _Parcel(data, self._record(Kind.DATA, gathered.rows, data, gathered.step))
        self._gathered.popleft()

    def _record(self, kind: Kind, rows: int, data: memoryview | bytes, step: int) -> Record:
        return Record(
            kind,
            self.committed_segments,
            self.committed_rows,
            rows,
            len(data),
            checksum(data),
            step,
            time.time_ns(),
            int(self.topic.schema.fingerprint[:8], 16),
        )

    def _send(self) -> None:
        """Publish the parcel that is under way, if any: data first, then the record that commits it."""
        if self._parcel is None:
            return
        record = self._parcel.record
        name = segment_name(self.name, record.seq)
        try:
            self.topic.store.put_new(name, self._parcel.data)
        except NameTaken:
            # Nobody else writes here, so this is the same parcel from a call whose reply was lost.
            log.info("%s was there already; its record is written again.", name)
        self._commit(record)
        self._parcel = None

    def _commit(self, record: Record) -> None:
        try:
            append_record(self.topic.store, self.name, record)
        except (NameAbsent, NameCut):
            # No later try can mend this, so it is no full disk that one waits for: the place is no longer its own.
            raise StaleRun(
                f"The log of {self.name} in {self.topic.store.where()} was deleted or cut under its writer, and what it "
                f"says next would be read by nobody. Restart this process; it will begin a new incarnation."
            ) from None
        self.committed_rows += record.rows
        self.committed_segments += 1
