"""A consumer: reads the rows that a plan gives to its rank, verified, into numpy columns.

Every read checks the whole file against the checksum that came with the plan. A segment that was whole when it was
admitted and is damaged now (bit rot, a deleted file) must not change how many rows a rank trains on: its rows come back
as zeros with weight zero, and `damaged` tells rank 0 what to condemn.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ExchangeError
from tsal_dist.pseudo.schema import Columns, join_columns, slice_columns
from tsal_dist.pseudo.segment import decode_segment, verify_segment
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import Plan, RowRange
from tsal_dist.pseudo.topic import Topic, segment_name

log = logging.getLogger(__name__)

Segment = tuple[str, int]
"""Producer and number."""
KEEP_SEGMENTS = 8
"""So many stay decoded: the rows of neighbouring plans lie in the same ones."""


@dataclass(frozen=True)
class Delivery:
    """N rows of one rank's share of a step."""

    columns: Columns
    fresh_N: NDArray[np.float32]
    """1 - rho for a good row, 0 for one whose segment was damaged."""
    lag_steps_N: NDArray[np.int64]
    use_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fresh_N)


class Consumer:
    """One rank's reader."""

    def __init__(
        self,
        topic: Topic,
        rank: int,
        staleness: Staleness,
        *,
        verified: Callable[[str, int], bytes | None] | None = None,
    ) -> None:
        """`verified` may hand over what this process has read and verified already: on the planner's rank,
        `PlanSource.take_verified`."""
        self.damaged: dict[Segment, str] = {}
        """Segments that failed here, with the reason; for the planner's `condemn`."""
        self._topic = topic
        self._verified = verified or (lambda producer, seq: None)
        self._rank = rank
        self._staleness = staleness
        self._segments: OrderedDict[Segment, Columns | None] = OrderedDict()
        """Those that were used last, the latest at the end; None for a damaged one."""

    def fetch(self, plan: Plan) -> Delivery:
        """The rows of `plan` for this rank, in the plan's order."""
        parts = plan.ranks[self._rank]
        columns, weights = [], []
        for part in parts:
            self._staleness.require(
                plan.now_step, part.teacher_step, f"Segment {part.seq} of {part.producer}"
            )
            whole = self._segment(part)
            if whole is None:
                columns.append(
                    {field.name: field.zeros(len(part)) for field in self._topic.schema.all_fields}
                )
                weights.append(0.0)
            else:
                columns.append(slice_columns(whole, slice(part.start, part.stop)))
                weights.append(self._staleness.weight(plan.now_step, part.teacher_step))
        while len(self._segments) > KEEP_SEGMENTS:
            self._segments.popitem(last=False)
        if not columns:
            columns.append({field.name: field.zeros(0) for field in self._topic.schema.all_fields})
        lags = [self._staleness.lag_steps(plan.now_step, part.teacher_step) for part in parts]
        return Delivery(
            join_columns(columns) if len(columns) > 1 else columns[0],
            _per_row(weights, parts).astype(np.float32),
            _per_row(lags, parts).astype(np.int64),
            _per_row([part.use for part in parts], parts).astype(np.int64),
        )

    def _segment(self, part: RowRange) -> Columns | None:
        key = part.producer, part.seq
        if key not in self._segments:
            self._segments[key] = self._read(part)
        self._segments.move_to_end(key)
        return self._segments[key]

    def _read(self, part: RowRange) -> Columns | None:
        name = segment_name(part.producer, part.seq)
        place = self._topic.store.where(name)
        fault = ""
        for _ in range(2):  # the second time freshly opened: NFS may serve a stale page once
            try:
                data = self._verified(part.producer, part.seq)
                if data is None:
                    data = self._topic.store.get(name)
                    verify_segment(data, part.size, part.digest, place)
                return decode_segment(data, self._topic.schema, place)
            except ExchangeError as error:
                fault = str(error)
        log.error("Rows of an admitted segment are lost, they are trained on with weight 0: %s", fault)
        self.damaged[part.producer, part.seq] = fault
        return None


def _per_row(values: Iterable[float], parts: Iterable[RowRange]) -> "NDArray[np.float64]":
    return np.repeat(np.array(list(values), np.float64), [len(part) for part in parts])
