"""What rank 0 tells the others: which rows each rank trains on in one step, and the log of all plans.

Every rank gets the same number of rows, whatever arrived. The plan log is the exact order of training: one line of
JSON per step, of which the last line for a step holds (a resumed run writes its steps again). With the segments still
in place, `LoggedPlans` feeds a run exactly what another run was fed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tsal_dist.errors import DataError
from tsal_dist.exchange.lines import last_line
from tsal_dist.exchange.pieces import Pieces, read_lines
from tsal_dist.json_object import read_sealed, write_sealed


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows [start, stop) of one segment, with what it takes to verify and weigh them."""

    producer: str
    seq: int
    start: int
    stop: int
    use: int
    """1 for fresh rows, 2 when they are trained on for the second time, and so on."""
    teacher_step: int
    size: int
    digest: int

    def __len__(self) -> int:
        return self.stop - self.start

    def to_list(self) -> list[Any]:
        """The fields in their order, as `RowRange(*fields)` takes them."""
        return [getattr(self, name) for name in self.__slots__]


@dataclass(frozen=True)
class Plan:
    """One step. `short_rows` are missing per rank; `reasons` says where rows went that could have filled them."""

    step: int
    now_step: int
    ranks: tuple[tuple[RowRange, ...], ...]
    short_rows: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_per_rank(self) -> int:
        return sum(len(part) for part in self.ranks[0])

    @property
    def fresh_rows(self) -> int:
        return sum(len(part) for part in self.ranges() if part.use == 1)

    @property
    def reused_rows(self) -> int:
        return sum(len(part) for part in self.ranges() if part.use > 1)

    def ranges(self) -> Iterator[RowRange]:
        for rank in self.ranks:
            yield from rank

    def to_json(self) -> dict[str, Any]:
        """Small and plain, for the broadcast as for the log."""
        return {
            "step": self.step,
            "now_step": self.now_step,
            "ranks": [[part.to_list() for part in rank] for rank in self.ranks],
            "short_rows": self.short_rows,
            "reasons": dict(self.reasons),
        }

    @staticmethod
    def from_json(text: Mapping[str, Any]) -> "Plan":
        ranks = tuple(tuple(RowRange(*part) for part in rank) for rank in text["ranks"])
        return Plan(text["step"], text["now_step"], ranks, text["short_rows"], text["reasons"])

    @staticmethod
    def parse(text: Mapping[str, Any]) -> "Plan":
        """`from_json` of what a disk has held; ValueError where it is not one that was written here."""
        try:
            plan = Plan.from_json(text)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
        counted = [plan.step, plan.now_step, plan.short_rows]
        for part in plan.ranges():
            counted += [part.seq, part.start, part.stop, part.use, part.size, part.digest]
        if any(type(number) is not int or number < 0 for number in counted):
            raise ValueError("a number in it is not whole")
        if any(part.stop < part.start or type(part.teacher_step) is not int for part in plan.ranges()):
            raise ValueError("a range in it ends before it begins, or names no version")
        words = [part.producer for part in plan.ranges()]
        if (
            not plan.ranks
            or not isinstance(plan.reasons, dict)
            or not all(isinstance(word, str) for word in words)
        ):
            raise ValueError("it names no ranks, reasons or producers")
        return plan


def merge_ranges(parts: list[RowRange]) -> list[RowRange]:
    """Neighbours that continue each other become one."""
    merged: list[RowRange] = []
    for part in parts:
        last = merged[-1] if merged else None
        if last and (last.producer, last.seq, last.stop, last.use) == (
            part.producer,
            part.seq,
            part.start,
            part.use,
        ):
            part = cut(merged.pop(), last.start, part.stop)
        merged.append(part)
    return merged


def cut(part: RowRange, start: int, stop: int) -> RowRange:
    """The same segment and use, other rows."""
    return replace(part, start=start, stop=stop)


def split_ranges(parts: list[RowRange], rows: int, shares: int) -> tuple[tuple[RowRange, ...], ...]:
    """`shares` lists of `rows` rows each, in order; the parts must hold exactly that many."""
    out: list[list[RowRange]] = []
    room = 0
    for part in parts:
        start = part.start
        while start < part.stop:
            if not room:
                out.append([])
                room = rows
            taken = min(room, part.stop - start)
            out[-1].append(cut(part, start, start + taken))
            start += taken
            room -= taken
    out += [[] for _ in range(shares - len(out))]
    return tuple(tuple(share) for share in out)


class PlanLog:
    """Appends plans to a file, one line each, with a checksum and the incarnation of the process that planned."""

    def __init__(self, path: Path, incarnation: int = 0, keep_bytes: int | None = None) -> None:
        """Of finished pieces `keep_bytes` stay; None keeps all that was ever planned."""
        self._lines = Pieces(path, keep_bytes)
        # A run that was copied begins to count anew, and still comes after what it was copied from.
        self._incarnation = max(incarnation, _owner(last_line(path)))

    def write(self, plan: Plan) -> None:
        self._lines.append(write_sealed({**plan.to_json(), "by": self._incarnation}))

    def close(self) -> None:
        self._lines.close()


def _owner(line: bytes) -> int:
    """The incarnation that planned it; 0 where nobody knows."""
    try:
        owner = read_sealed(line).get("by", 0)
    except ValueError:
        return 0
    return owner if type(owner) is int else 0


def load_plans(path: Path) -> list[Plan]:
    """The plans of the surviving lineage, in order of their steps."""
    plans: list[Plan] = []
    newest = 0
    for place, line in read_lines(path):
        try:
            page = read_sealed(line)
            plan, owner = Plan.parse(page), page.get("by", 0)
            if type(owner) is not int:
                raise ValueError("it does not say who planned")
        except ValueError as error:
            raise DataError(f"{place} is no plan ({error}).") from error
        if owner < newest:
            continue  # of a process that woke up after its successor had begun to plan
        newest = owner
        while plans and plans[-1].step >= plan.step:
            plans.pop()  # a resumed run trained these steps again
        plans.append(plan)
    return plans


class LoggedPlans:
    """Answers `plan` from a log instead of a queue, so that a run can be trained again row for row."""

    def __init__(self, path: Path) -> None:
        self._plans = {plan.step: plan for plan in load_plans(path)}

    def plan(self, step: int, rows_per_rank: int, world: int) -> Plan:
        plan = self._plans.get(step)
        if plan is None or len(plan.ranks) != world or plan.rows_per_rank + plan.short_rows != rows_per_rank:
            raise DataError(
                f"The plan log has no step {step} for {world} ranks of {rows_per_rank} rows. "
                f"Replay a run with the batch and the number of ranks it was trained with."
            )
        return plan
