"""One producer as the planner sees it: what was read of its log, what of that is left, and where every row went.

At any time committed = delivered + trimmed + quarantined + pending, counted in rows. Rows of a record that was lost
from the log are known by the gap they leave in the running count, and belong to the quarantined.
"""

import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tsal_dist.exchange.store import Store
from tsal_dist.pseudo.log import Hole, Kind, LogReader, Record
from tsal_dist.pseudo.topic import split_producer

log = logging.getLogger(__name__)

LOST_RECORD = "log record lost"


@dataclass
class Head:
    """The segment that is being handed out, and the row ranges of it that are left."""

    record: Record
    runs: list[tuple[int, int]]


@dataclass
class Feed:
    """The planner's bookkeeping for one producer."""

    name: str
    reader: LogReader
    queue: deque[Record] = field(default_factory=deque)
    head: Head | None = None
    fence: int | None = None
    """Records from this one on are ignored: the producer sealed its log, or a successor took its place."""
    committed: int = 0
    delivered: int = 0
    trimmed: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)

    @property
    def owner(self) -> tuple[str, int]:
        role, rank, _ = split_producer(self.name)
        return role, rank

    @property
    def incarnation(self) -> int:
        return split_producer(self.name)[2]

    @property
    def live(self) -> bool:
        """Whether its log must be polled."""
        return self.fence is None or self.reader.next < self.fence

    @property
    def passed(self) -> int:
        """Rows that have left the queue one way or another."""
        return self.delivered + self.trimmed.total() + self.quarantined.total()

    @property
    def pending(self) -> int:
        return self.committed - self.passed

    @property
    def empty(self) -> bool:
        return self.head is None and not self.queue

    def poll(self) -> int:
        """Read what is new; returns its rows. What was read is kept in the same breath, so no failure loses it."""
        return self.absorb(self.reader.read())

    def absorb(self, found: Sequence[Record | Hole]) -> int:
        """Take what the reader found; returns the rows of new segments."""
        before = self.committed
        for record in found:
            if isinstance(record, Hole) or (self.fence is not None and record.seq >= self.fence):
                continue
            if record.first_row < self.committed:
                # No crash does this, only a writer that is broken or lies: which of its numbers are true?
                log.warning(
                    "The log of %s contradicts itself at record %d: it is read no further.",
                    self.name,
                    record.seq,
                )
                self.fence = record.seq
                continue
            if record.first_row > self.committed:
                self.quarantined[LOST_RECORD] += record.first_row - self.committed
            self.committed = record.first_row + record.rows
            if record.kind is Kind.SEAL:
                self.fence = record.seq
            else:
                self.queue.append(record)
        return self.committed - before

    def close(self) -> int:
        """Read to the end of the log and look no further; returns the rows of new segments."""
        rows = 0
        while found := self.reader.read():
            rows += self.absorb(found)
        if self.fence is None:
            self.fence = self.reader.next
        return rows

    def offset(self) -> tuple[int, int]:
        """Segment and row from which on nothing was handed out."""
        if self.head is not None:
            return self.head.record.seq, self.head.runs[0][0]
        return (self.queue[0].seq if self.queue else self.reader.next), 0

    def state_dict(self) -> dict[str, Any]:
        following = self.queue[0].seq if self.queue else self.reader.next
        head = None
        if self.head is not None:
            head = asdict(self.head.record) | {"runs": [list(run) for run in self.head.runs]}
            del head["kind"]  # always DATA
        quarantined, committed = Counter(self.quarantined), self.committed
        if self.queue:  # what is still queued is read from the log again
            committed = self.queue[0].first_row
            ahead = sum(record.rows for record in self.queue)
            quarantined[LOST_RECORD] -= self.committed - committed - ahead
        return {
            "offset": self.offset(),
            "next": following,
            "committed": committed,
            "head": head,
            "fence": self.fence,
            "delivered": self.delivered,
            "trimmed": dict(self.trimmed),
            "quarantined": dict(+quarantined),
        }

    @staticmethod
    def from_state(store: Store, name: str, state: Mapping[str, Any]) -> "Feed":
        head = None
        if state["head"] is not None:
            fields = {key: value for key, value in state["head"].items() if key != "runs"}
            head = Head(Record(Kind.DATA, **fields), [(start, stop) for start, stop in state["head"]["runs"]])
        return Feed(
            name,
            LogReader(store, name, state["next"]),
            head=head,
            fence=state["fence"],
            committed=state["committed"],
            delivered=state["delivered"],
            trimmed=Counter(state["trimmed"]),
            quarantined=Counter(state["quarantined"]),
        )
