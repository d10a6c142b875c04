"""What is checked before a committed segment may enter a plan, and what happens to one that fails.

Inspection reads the whole file and touches no state, so several may run at once: length, checksum and the
number of rows. A file that fails twice in a row (the second time freshly opened, as NFS may serve
a stale page) goes to quarantine with its reason and is never asked for again.
"""

import base64
import json
import logging
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import NameAbsent, NameTaken
from tsal_dist.pseudo.log import Record
from tsal_dist.pseudo.schema import Strings
from tsal_dist.pseudo.segment import DamagedSegment, decode_segment, verify_segment
from tsal_dist.pseudo.topic import Topic, quarantine_name, segment_name

log = logging.getLogger(__name__)

MISSING = "missing"
MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Inspection:
    """What the planner needs to know of a segment; `fault` is empty for a good one."""

    unit_keys: NDArray[np.uint64]
    """One number per clip: the same sample labelled with the same weights gives the same number."""
    video: Strings
    fault: str = ""
    data: bytes = b""
    """The file as it was verified."""


def inspect_segment(topic: Topic, producer: str, record: Record) -> Inspection:
    """Read and check one committed segment."""
    fault = ""
    for _ in range(2):
        try:
            return _inspect(topic, producer, record)
        except NameAbsent:
            fault = MISSING
        except DamagedSegment as error:
            fault = str(error)
    return Inspection(np.zeros(0, np.uint64), Strings(np.zeros(0, np.int32), ()), fault)


def _inspect(topic: Topic, producer: str, record: Record) -> Inspection:
    name = segment_name(producer, record.seq)
    place = topic.store.where(name)
    data = topic.store.get(name)
    verify_segment(data, record.size, record.digest, place)
    columns = decode_segment(data, topic.schema, place, only=("video", "frame", "sample_id"))
    video, frame, sample_id = columns["video"], columns["frame"], columns["sample_id"]
    if len(frame) != record.rows or not isinstance(video, Strings):
        raise DamagedSegment(f"{place} has {len(frame)} rows, {record.rows} were committed.")
    unit = topic.schema.unit
    keys = unit_keys(np.asarray(sample_id)[::unit], np.asarray(frame)[::unit], record.step)
    return Inspection(keys, video, data=data)


def unit_keys(sample_id: NDArray[np.uint64], frame: NDArray[np.int32], step: int) -> NDArray[np.uint64]:
    """Mix sample, first frame and teacher step; two different clips share a key once in 2^64."""
    steps = np.array([step]).astype(np.uint64)  # an array wraps round quietly, a scalar warns
    key = sample_id.astype(np.uint64) * MIX[0] + frame.astype(np.uint64) * MIX[1] + steps * MIX[2]
    key = (key ^ (key >> np.uint64(30))) * MIX[1]
    key = (key ^ (key >> np.uint64(27))) * MIX[2]
    mixed: NDArray[np.uint64] = key ^ (key >> np.uint64(31))
    return mixed


class RecentUnits:
    """Which clips were admitted lately. A teacher that restarts labels some of them again with the same weights.

    Remembers the last `limit` clips, so its memory and its place in a checkpoint are bounded. Choose the limit to cover
    what is admitted within the staleness bound: an older repeat is dropped as stale anyway.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[int] = set()
        self._order: deque[NDArray[np.uint64]] = deque([np.zeros(0, np.uint64)])
        """The same keys as they came; what is looked up and what is forgotten need different orders."""

    def admit(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each key whether it is new; the new ones are remembered."""
        words = keys.tolist()
        fresh = np.ones(len(words), np.bool_)
        batch = set(words)
        if len(batch) < len(words) or not self._seen.isdisjoint(batch):  # rare, so it may be slow
            for place, key in enumerate(words):
                fresh[place] = key not in self._seen
                self._seen.add(key)
        else:
            self._seen |= batch
        self._remember(keys[fresh])
        return fresh

    def state_dict(self) -> str:
        return base64.b64encode(np.concatenate(list(self._order)).astype("<u8").tobytes()).decode()

    def load_state_dict(self, state: str) -> None:
        keys = np.frombuffer(base64.b64decode(state), "<u8").astype(np.uint64)
        self._order = deque([keys])
        self._seen = set(keys.tolist())

    def _remember(self, keys: NDArray[np.uint64]) -> None:
        """Append, and forget the oldest beyond the limit."""
        self._order.append(keys)
        surplus = len(self._seen) - self._limit
        while surplus > 0:
            oldest = self._order.popleft()
            self._seen.difference_update(oldest[:surplus].tolist())
            if len(oldest) > surplus:
                self._order.appendleft(oldest[surplus:])
            surplus -= len(oldest)


def unit_runs(fresh: NDArray[np.bool_], unit: int) -> list[tuple[int, int]]:
    """Row ranges [start, stop) of the units that are fresh, neighbours joined."""
    edges = np.flatnonzero(np.diff(fresh.astype(np.int8), prepend=0, append=0)) * unit
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def quarantine_segment(topic: Topic, producer: str, seq: int, fault: str) -> None:
    """Put the file where no reader looks, with the reason beside it. The bytes are kept for a person to see."""
    target = quarantine_name(producer, seq)
    reason = {"producer": producer, "seq": seq, "fault": fault}
    log.warning("Quarantined segment %d of %s: %s", seq, producer, fault)
    try:
        topic.store.put_new(target.removesuffix("parquet") + "json", json.dumps(reason).encode())
    except NameTaken:
        log.debug("The reason was written before; this is a planner that started again.")
    except ExchangeError as error:
        log.warning("The segment stays where it is and is skipped: %s", error)
        return
    try:
        topic.store.move(segment_name(producer, seq), target)
    except NameAbsent:
        log.debug("There is nothing to move.")
    except ExchangeError as error:
        log.warning("The segment stays where it is and is skipped: %s", error)
