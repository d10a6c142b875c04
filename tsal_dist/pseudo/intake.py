"""From logs to rows: finds producers, polls them, opens their segments in turn and hands out what may be trained on.

Rows of one producer come in order and without gaps; producers take turns, a segment each. Every row that is committed
is delivered, trimmed or quarantined exactly once, and counted. Nothing here knows of steps, ranks or reuse.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import NameAbsent
from tsal_dist.pseudo.admission import (
    MISSING,
    Inspection,
    RecentUnits,
    inspect_segment,
    quarantine_segment,
    unit_runs,
)
from tsal_dist.pseudo.borrowed import lender_of
from tsal_dist.pseudo.collect import load_watermark
from tsal_dist.pseudo.feed import Feed, Head
from tsal_dist.pseudo.log import LogReader, Record
from tsal_dist.pseudo.schema import Strings
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import RowRange, cut
from tsal_dist.pseudo.topic import (
    Topic,
    list_producers,
    meta_name,
    parse_text,
    require_own,
    segment_name,
)

log = logging.getLogger(__name__)

Read = TypeVar("Read")

STALE = "stale"
DUPLICATE = "duplicate"
COLLECTED = "collected"
DAMAGED = "damaged"
FIRST_DOUBTS = 8
"""Damaged segments that are forgiven before the share of them is judged."""
MAX_BAD_SHARE = 0.05
KEEP_VERIFIED = 4
"""Segments whose bytes wait for `take_verified`."""


class Intake:
    """All producers of a topic, followed by one reader."""

    def __init__(self, topic: Topic, staleness: Staleness, dedupe_units: int) -> None:
        self.feeds: dict[str, Feed] = {}
        self.refused: dict[str, str] = {}
        """Producers that are not read, and why."""
        self.unread: dict[str, str] = {}
        """Places that cannot be read at the moment, and why. They are looked at again, and the others go on."""
        self.dropped_by_video: Counter[str] = Counter()
        """Rows that were dropped as stale or duplicate; dropping selectively biases the data, so watch it."""
        self._topic = topic
        self._staleness = staleness
        self._unit = topic.schema.unit
        self._verified: dict[tuple[str, int], bytes] = {}
        self._recent = RecentUnits(dedupe_units)
        self._returned: list[RowRange] = []
        self._turn = ""
        self._opened = 0
        self._bad = 0
        self._condemned: set[tuple[str, int]] = set()

    def discover(self) -> None:
        """List the producers. One that a later incarnation succeeded is read to its end and then left alone."""
        for name in self._try_read("p", lambda: list_producers(self._topic.store)) or []:
            if name not in self.feeds and name not in self.refused:
                self._welcome(name)
        newest: dict[tuple[str, int], int] = {}
        for feed in self.feeds.values():
            newest[feed.owner] = max(feed.incarnation, newest.get(feed.owner, 0))
        for feed in self.feeds.values():
            if feed.fence is None and feed.incarnation < newest[feed.owner]:
                self._try_read(feed.name, feed.close)

    def poll(self) -> int:
        """Read what live producers committed: one store operation each. Returns the rows that came."""
        live = [feed for feed in self.feeds.values() if feed.live]
        return sum(self._try_read(feed.name, feed.poll) or 0 for feed in live)

    def draw(self, rows: int, now_step: int) -> list[RowRange]:
        """Up to `rows` rows that may be trained on at `now_step`; fewer where there are no more."""
        parts: list[RowRange] = []
        try:
            missing = rows - self._draw_returned(parts, rows, now_step)
            while missing > 0 and (feed := self._next_feed(now_step)):
                parts.append(self._take(feed, missing))
                missing -= len(parts[-1])
        except ExchangeError:
            self.put_back(parts)
            raise
        return parts

    def put_back(self, parts: Sequence[RowRange]) -> None:
        """Undo a draw: these rows come first next time."""
        for part in parts:
            if part.use == 1:
                self.feeds[part.producer].delivered -= len(part)
        self._returned[:0] = parts

    def condemn(self, producer: str, seq: int, fault: str) -> None:
        """A segment turned out damaged after it was admitted: hand out none of its rows again. Several ranks may find out."""
        if (producer, seq) in self._condemned:
            return
        self._condemned.add((producer, seq))
        feed = self.feeds[producer]
        if feed.head and feed.head.record.seq == seq:
            feed.quarantined[DAMAGED] += sum(stop - start for start, stop in feed.head.runs)
            feed.head = None
        for part in self._returned:
            if (part.producer, part.seq, part.use) == (producer, seq, 1):
                feed.quarantined[DAMAGED] += len(part)
        self._returned = [part for part in self._returned if (part.producer, part.seq) != (producer, seq)]
        self._quarantine(producer, seq, fault)

    def take_verified(self, producer: str, seq: int) -> bytes | None:
        """The bytes of a segment that was inspected lately, once: a reader in this process need not read it again."""
        return self._verified.pop((producer, seq), None)

    def lost_rows(self) -> Counter[str]:
        """Rows that will never be trained on, by reason."""
        total: Counter[str] = Counter()
        for feed in self.feeds.values():
            total += feed.trimmed + feed.quarantined
        return total

    def oldest_step(self) -> int | None:
        """The lowest teacher step among the segments that come next; None where nothing waits."""
        heads = [feed.head.record.step for feed in self.feeds.values() if feed.head]
        following = [feed.queue[0].step for feed in self.feeds.values() if feed.queue]
        return min([*heads, *following], default=None)

    def needs(self) -> dict[str, int]:
        """Per producer the first segment that is still to be read."""
        first = {name: feed.offset()[0] for name, feed in self.feeds.items()}
        return lowest(first, self._returned)

    def state_dict(self) -> dict[str, Any]:
        return {
            "feeds": {name: feed.state_dict() for name, feed in self.feeds.items()},
            "recent": self._recent.state_dict(),
            "returned": [part.to_list() for part in self._returned],
            "turn": self._turn,
            "opened": self._opened,
            "bad": self._bad,
            "dropped_by_video": dict(self.dropped_by_video),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        store = self._topic.store
        self.feeds = {name: Feed.from_state(store, name, feed) for name, feed in state["feeds"].items()}
        self._recent.load_state_dict(state["recent"])
        self._returned = [RowRange(*part) for part in state["returned"]]
        self._turn, self._opened, self._bad = state["turn"], state["opened"], state["bad"]
        self.dropped_by_video = Counter(state["dropped_by_video"])
        self.discover()

    def _welcome(self, name: str) -> None:
        store, file = self._topic.store, meta_name(name)
        try:
            text = self._try_read(name, lambda: store.get(file))
        except NameAbsent:
            return  # it is being born; the next listing finds it
        if text is None:
            return
        try:
            meta = parse_text(text, store.where(file))
            require_own(self._topic, meta, name)
        except ExchangeError as error:
            self.refused[name] = str(error)
            log.warning("Producer %s is not read: %s", name, error)
            return
        self.feeds[name] = Feed(name, LogReader(self._topic.store, name))
        self.feeds = dict(sorted(self.feeds.items()))  # the order of turns must not depend on who came first

    def _try_read(self, place: str, read: Callable[[], Read]) -> Read | None:
        """What `read` gives, or None where that cannot be had now. One unreadable neighbour must not stop everybody."""
        try:
            found = read()
        except NameAbsent as error:
            if place not in self.feeds:
                raise
            problem: ExchangeError = error  # its META.json was there, so its log was too
        except ExchangeError as error:
            problem = error
        else:
            if self.unread.pop(place, None):
                log.info("%s can be read again.", place)
            return found
        if place not in self.unread:
            log.warning("%s is passed over, and looked at again: %s", place, problem)
        self.unread[place] = str(problem)
        return None

    def _draw_returned(self, parts: list[RowRange], rows: int, now: int) -> int:
        """Rows taken from those that were put back."""
        taken_rows = 0
        while taken_rows < rows and self._returned:
            part = self._returned.pop(0)
            feed = self.feeds[part.producer]
            if not self._staleness.admits(now, part.teacher_step):
                feed.trimmed[STALE] += len(part) if part.use == 1 else 0
                continue
            taken = cut(part, part.start, min(part.stop, part.start + rows - taken_rows))
            if taken.stop < part.stop:
                self._returned.insert(0, cut(part, taken.stop, part.stop))
            feed.delivered += len(taken) if taken.use == 1 else 0
            parts.append(taken)
            taken_rows += len(taken)
        return taken_rows

    def _next_feed(self, now: int) -> Feed | None:
        """The producer whose turn it is, with rows to give. The turn passes on when a segment is used up: to the next rank,
        not to the successor of the one that had it, or a resumed run would go on in another order."""
        current = self.feeds.get(self._turn)
        if current and current.head and self._open(current, now):
            return current
        names = list(self.feeds)
        same = [at for at, feed in enumerate(self.feeds.values()) if current and feed.owner == current.owner]
        after = same[-1] + 1 if same else 0
        for name in names[after:] + names[:after]:
            if self._open(self.feeds[name], now):
                self._turn = name
                return self.feeds[name]
        return None

    def _take(self, feed: Feed, rows: int) -> RowRange:
        """Up to `rows` rows from the open segment of `feed`."""
        head = feed.head
        assert head is not None, "it was chosen for its open segment"
        start, stop = head.runs.pop(0)
        if stop - start > rows:
            head.runs.insert(0, (start + rows, stop))
            stop = start + rows
        if not head.runs:
            feed.head = None
        feed.delivered += stop - start
        record = head.record
        return RowRange(feed.name, record.seq, start, stop, 1, record.step, record.size, record.digest)

    def _open(self, feed: Feed, now: int) -> bool:
        """Make sure that `feed` has rows to give at step `now`; False where it has none."""
        if feed.head and not self._staleness.admits(now, feed.head.record.step):
            self._trim(feed, feed.head.record, feed.head.runs)
            feed.head = None
        while feed.head is None and feed.queue:
            record = feed.queue[0]
            if self._staleness.admits(now, record.step):
                place = segment_name(feed.name, record.seq)
                found = self._try_read(place, partial(self._inspect, feed.name, record))
                if found is None:
                    return False
                feed.head = self._admit(feed, record, found)
            else:
                self._trim(feed, record, [(0, record.rows)])
            feed.queue.popleft()
        return feed.head is not None

    def _inspect(self, producer: str, record: Record) -> Inspection:
        found = inspect_segment(self._topic, producer, record)
        if not found.fault:
            self._verified[producer, record.seq] = found.data
            while len(self._verified) > KEEP_VERIFIED:
                del self._verified[next(iter(self._verified))]
        return found

    def _admit(self, feed: Feed, record: Record, found: Inspection) -> Head | None:
        self._opened += 1
        watermark = (
            self._try_read("WATERMARK.json", partial(load_watermark, self._topic.store))
            if found.fault == MISSING
            else None
        )
        if watermark and record.seq < watermark.get(feed.name, 0):
            feed.trimmed[COLLECTED] += record.rows
            return None
        if found.fault:
            feed.quarantined[MISSING if found.fault == MISSING else DAMAGED] += record.rows
            self._quarantine(feed.name, record.seq, found.fault)
            return None
        # Teachers of different runs are different, also where they stand at the same step.
        fresh = self._recent.admit(found.unit_keys + np.uint64(lender_of(feed.name)))
        again = unit_runs(~fresh, self._unit)
        feed.trimmed[DUPLICATE] += self._count_drops(found.video, again)
        runs = unit_runs(fresh, self._unit)
        return Head(record, runs) if runs else None

    def _trim(self, feed: Feed, record: Record, runs: Sequence[tuple[int, int]]) -> None:
        """Drop rows as stale. The file is read only to count by video."""
        place = segment_name(feed.name, record.seq)
        found = self._try_read(place, partial(self._inspect, feed.name, record))
        if found:
            self._count_drops(found.video, runs)
        self.unread.pop(place, None)  # nobody will look there again
        feed.trimmed[STALE] += sum(stop - start for start, stop in runs)

    def _count_drops(self, video: Strings, runs: Sequence[tuple[int, int]]) -> int:
        for start, stop in runs:
            self.dropped_by_video.update(video[slice(start, stop)].tolist())
        return sum(stop - start for start, stop in runs)

    def _quarantine(self, producer: str, seq: int, fault: str) -> None:
        quarantine_segment(self._topic, producer, seq, fault)
        self._bad += 1
        if self._bad > max(FIRST_DOUBTS, MAX_BAD_SHARE * self._opened):
            raise ExchangeError(
                f"{self._bad} of {self._opened} segments in {self._topic.store.where()} were damaged, the last "
                f"because: {fault} Look at the disk or the network before training on."
            )


def lowest(first: Mapping[str, int], parts: Iterable[RowRange]) -> dict[str, int]:
    """Per producer the lowest segment named by either."""
    out = dict(first)
    for part in parts:
        out[part.producer] = min(part.seq, out.get(part.producer, part.seq))
    return out
