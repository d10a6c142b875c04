"""The planner: the only reader of the logs in a consumer group, on rank 0 of its world.

It turns the rows of all producers into plans of equal counts, one per step. Everything that decides what is trained on
is its state; kept in the checkpoint beside the model, the rows after it are planned again with the model that forgot
them. A plan that lacks rows says so and says why: whether to use rows again, to go on with labelled data or to wait is
for the training loop to decide.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tsal_dist.errors import CheckpointError, ConfigError, ExchangeError
from tsal_dist.pseudo.cursor import Cursor, save_cursor
from tsal_dist.pseudo.intake import Intake, lowest
from tsal_dist.pseudo.reuse_pool import ReusePool
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import Plan, PlanLog, RowRange, cut, merge_ranges, split_ranges
from tsal_dist.pseudo.topic import Topic

log = logging.getLogger(__name__)


class Planner:
    """One consumer group's view of a topic. Not for several threads."""

    def __init__(
        self,
        topic: Topic,
        group: str,
        staleness: Staleness,
        *,
        max_reuse: int = 1,
        pool_rows: int = 8192,
        dedupe_units: int = 1 << 17,
        seed: int = 0,
        discover_s: float = 5.0,
        cursor_s: float = 1.0,
        plan_log: PlanLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_reuse < 1:
            raise ConfigError(f"max_reuse counts every training on a row and is at least 1, not {max_reuse}.")
        self.topic = topic
        self.group = group
        self.intake = Intake(topic, staleness, dedupe_units)
        self._staleness = staleness
        self._unit = topic.schema.unit
        self._pool = ReusePool(max_reuse, pool_rows, self._unit)
        self._planned: dict[int, Plan] = {}
        """Plans that are not trained yet; ranks may be prefetching them."""
        self._seed = seed
        self._step = -1
        self._floor: dict[str, int] = {}
        self._log = plan_log
        self._life = secrets.token_hex(4)
        self._beats = 0
        self._mute = False
        self._clock = clock
        self._discover_s = discover_s
        self._cursor_s = cursor_s
        self._discovered = self._shown = clock()
        self.intake.discover()
        self._show_cursor()

    def tick(self) -> int:
        """Poll, and do what is due besides: find new producers, show the cursor. Returns the rows that came.

        Call it also where no plan is made (evaluation, waiting): a cursor that stands still looks like a dead group.
        """
        now = self._clock()
        if now - self._discovered >= self._discover_s:
            self._discovered = now
            self.intake.discover()
        if now - self._shown >= self._cursor_s:
            self._shown = now
            self._show_cursor()
        return self.intake.poll()

    def plan(self, step: int, rows_per_rank: int, world: int, *, reuse: bool = True) -> Plan:
        """The rows of `step`: fresh ones first, then some again, equally many for each of `world` ranks.

        They are judged stale by that step, at which they will be trained on. Asking again for a step that is not trained
        yet gives the same plan again.
        """
        if rows_per_rank < self._unit or rows_per_rank % self._unit or world < 1:
            raise ConfigError(
                f"{rows_per_rank} rows for each of {world} ranks are no whole number of clips of {self._unit} frames."
            )
        again = self._planned.get(step)
        if again and len(again.ranks) == world and again.rows_per_rank + again.short_rows == rows_per_rank:
            return again
        self._dissolve(step)
        lost_before = self.intake.lost_rows()
        parts = self.intake.draw(rows_per_rank * world, step)
        if reuse:
            self._pool.drop(lambda part: self._staleness.admits(step, part.teacher_step))
        have = _rows(parts) + (len(self._pool) if reuse else 0)
        share = min(rows_per_rank, have // (world * self._unit) * self._unit)
        parts, surplus = _cut_after(parts, share * world)
        self.intake.put_back(surplus)
        missing = share * world - _rows(parts)
        reused = self._pool.draw(missing, np.random.default_rng([self._seed, step])) if missing else []
        self._pool.add([part for part in parts if part.use == 1])
        plan = Plan(
            step,
            step,
            split_ranges(merge_ranges(parts + reused), share, world),
            rows_per_rank - share,
            dict(self.intake.lost_rows() - lost_before),
        )
        self._planned[step] = plan
        if self._log:
            self._log.write(plan)
        return plan

    def trained(self, step: int) -> None:
        """All ranks have trained on the plans up to `step`: their rows are no backlog any more."""
        self._step = max(step, self._step)
        self._planned = {at: plan for at, plan in self._planned.items() if at > step}

    def condemn(self, producer: str, seq: int, fault: str) -> None:
        """A consumer found an admitted segment damaged: plan none of its rows again."""
        self._pool.drop(lambda part: (part.producer, part.seq) != (producer, seq))
        self.intake.condemn(producer, seq, fault)

    def publish_cursor(self) -> None:
        """Show producers what was trained and the collector what checkpoints need."""
        waiting: dict[str, int] = {}
        for part in self._outstanding():
            waiting[part.producer] = waiting.get(part.producer, 0) + (len(part) if part.use == 1 else 0)
        trained = {
            name: feed.passed - waiting.get(name, 0)
            for name, feed in self.intake.feeds.items()
            if feed.fence is None
        }
        self._beats += 1
        beat = f"{self._life}.{self._beats}"
        save_cursor(self.topic.store, self.group, Cursor(beat, self._step, trained, self._floor))

    def commit(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Tell the collector what is still needed: `states` are those of every checkpoint that is kept.

        Call it after a checkpoint is durable and after old ones are deleted, never before.
        """
        floors = [state["floor"] for state in states]
        shared = set.intersection(*(set(floor) for floor in floors)) if floors else set()
        self._floor = {name: min(floor[name] for floor in floors) for name in sorted(shared)}
        self._show_cursor()

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows per producer: committed = delivered + trimmed + quarantined + pending."""
        return {
            name: {
                "committed": feed.committed,
                "delivered": feed.delivered,
                "trimmed": feed.trimmed.total(),
                "quarantined": feed.quarantined.total(),
                "pending": feed.pending,
            }
            for name, feed in self.intake.feeds.items()
        }

    @property
    def committed_rows(self) -> int:
        """Rows that producers have ever committed, as far as is known."""
        return sum(feed.committed for feed in self.intake.feeds.values())

    @property
    def pending_rows(self) -> int:
        """Committed rows that were not handed out yet."""
        return sum(feed.pending for feed in self.intake.feeds.values())

    @property
    def bound_steps(self) -> float:
        """How many steps labels may lag; infinite where nothing bounds it."""
        return self._staleness.bound_steps

    @property
    def reusable_rows(self) -> int:
        """Rows that were trained on and may be trained on again."""
        return len(self._pool)

    def take_verified(self, producer: str, seq: int) -> bytes | None:
        """A segment that was read and verified here already, once; None where it has to be read."""
        return self.intake.take_verified(producer, seq)

    def numbers(self, step: int) -> dict[str, float]:
        """The queue as it is seen at a student step, for the metrics."""
        counts = self.counts().values()
        names = ("committed", "delivered", "trimmed", "quarantined", "pending")
        totals = {f"queue/{name}": float(sum(one[name] for one in counts)) for name in names}
        lost = self.intake.lost_rows()
        totals |= {f"queue/lost_{reason.replace(' ', '_')}": float(rows) for reason, rows in lost.items()}
        totals["queue/unread"] = float(len(self.intake.unread))
        oldest = self.intake.oldest_step()
        if oldest is not None:
            totals["queue/age_steps"] = float(max(0, step - oldest))
        return totals | {"queue/reusable": float(self.reusable_rows)}

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON. `intake.feeds.<producer>.offset` is the offset vector."""
        return {
            "queue": self.topic.uuid,
            "step": self._step,
            "seed": self._seed,
            "floor": lowest(lowest(self.intake.needs(), self._pool.units), self._outstanding()),
            "intake": self.intake.state_dict(),
            "pool": self._pool.state_dict(),
            "planned": [plan.to_json() for plan in self._planned.values()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Plans that were outstanding come out again, row for row."""
        if state["queue"] != self.topic.uuid:
            raise CheckpointError(
                f"This checkpoint read queue {state['queue']}, {self.topic.store.where()} is queue "
                f"{self.topic.uuid}. Resume in the run directory that the checkpoint belongs to."
            )
        self._step, self._seed = state["step"], state["seed"]
        self._floor = dict(state["floor"])
        self._pool.load_state_dict(state["pool"])
        plans = [Plan.from_json(plan) for plan in state["planned"]]
        self._planned = {plan.step: plan for plan in plans}
        self.intake.load_state_dict(state["intake"])
        self._show_cursor()

    def close(self) -> None:
        """The log of plans with it: lines may wait for room."""
        if self._log:
            self._log.close()

    def _show_cursor(self) -> None:
        """Publish it if the store lets us: without it producers park and nothing is collected, and training goes on."""
        try:
            self.publish_cursor()
        except ExchangeError as error:
            log.log(logging.DEBUG if self._mute else logging.WARNING, "The cursor is not shown: %s", error)
            self._mute = True
        else:
            self._mute = False

    def _outstanding(self) -> list[RowRange]:
        return [part for plan in self._planned.values() for part in plan.ranges()]

    def _dissolve(self, step: int) -> None:
        """Put the rows of plans from `step` on back: they are wanted in another shape."""
        later = sorted(at for at in self._planned if at >= step)
        parts = [part for at in later for part in self._planned.pop(at).ranges()]
        self._pool.remove([part for part in parts if part.use == 1])  # they have not been used after all
        self.intake.put_back(parts)


def _rows(parts: Sequence[RowRange]) -> int:
    return sum(map(len, parts))


def _cut_after(parts: Sequence[RowRange], rows: int) -> tuple[list[RowRange], list[RowRange]]:
    """The first `rows` rows, and the rest."""
    first: list[RowRange] = []
    rest: list[RowRange] = []
    for part in parts:
        room = max(0, min(len(part), rows - _rows(first)))
        if room:
            first.append(cut(part, part.start, part.start + room))
        if room < len(part):
            rest.append(cut(part, part.start + room, part.stop))
    return first, rest
