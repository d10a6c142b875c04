"""The plans of another run, step by step: whoever is trained by them gets the same weights."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.exchange.store import NameAbsent
from tsal_dist.pseudo.segment import DamagedSegment, verify_segment
from tsal_dist.pseudo.step_plan import LoggedPlans, Plan, PlanLog, RowRange
from tsal_dist.pseudo.topic import Topic, segment_name
from tsal_dist.run import load_run


class Replay:
    """Stands where the planner stands, and knows the plans already."""

    def __init__(self, topic: Topic, source: Path, own_log: PlanLog) -> None:
        self.topic = topic
        self._source = source
        self._plans = LoggedPlans(load_run(source).dir.metrics("plan"))
        self._log = own_log
        self._verified: set[tuple[str, int]] = set()

    @property
    def pending_rows(self) -> int:
        """As many as any step wants: its plans are made already, those without rows as well."""
        return sys.maxsize

    @property
    def reusable_rows(self) -> int:
        return 0

    @property
    def committed_rows(self) -> int:
        return 0

    @property
    def bound_steps(self) -> float:
        """What is too old was left out by the other run."""
        return math.inf

    def tick(self) -> int:
        return 0

    def plan(self, step: int, rows_per_rank: int, world: int, *, reuse: bool) -> Plan:
        """The plan that the other run made for this step, its segments verified; rows used again are in it."""
        plan = self._plans.plan(step, rows_per_rank, world)
        for part in plan.ranges():
            if (part.producer, part.seq) not in self._verified:
                self._verify(part)
        self._log.write(plan)
        return replace(plan, reasons={})  # what the other run lost on the way is no loss of this one

    def trained(self, step: int) -> None:
        """Nothing waits for room here."""

    def condemn(self, producer: str, seq: int, fault: str) -> None:
        raise DataError(f"Segment {seq} of {producer} was lost during the replay: {fault}")

    def commit(self, states: Sequence[Mapping[str, Any]]) -> None:
        """The labels are another run's to keep or to delete."""

    def take_verified(self, producer: str, seq: int) -> None:
        """A run is replayed at leisure: its segments are read again."""

    def numbers(self, step: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"replay_of": self.topic.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.get("replay_of") != self.topic.run_id:
            raise CheckpointError(
                f"This checkpoint is no replay of the run in {self._source}. Start the replay again with --clean."
            )

    def close(self) -> None:
        self._log.close()

    def _verify(self, part: RowRange) -> None:
        name = segment_name(part.producer, part.seq)
        place = self.topic.store.where(name)
        try:
            verify_segment(self.topic.store.get(name), part.size, part.digest, place)
        except NameAbsent:
            raise DataError(
                f"{place} is gone: it was collected, or quarantined as damaged. A replay needs every segment that was "
                f"trained on; train with runtime.queue.collect=false to keep them."
            ) from None
        except DamagedSegment as error:
            raise DataError(f"{error} Without it the run cannot be replayed.") from error
        self._verified.add((part.producer, part.seq))
