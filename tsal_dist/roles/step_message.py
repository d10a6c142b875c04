"""What rank 0 tells the other ranks of a student before a step: which rows they train on, or that they stop."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tsal_dist.dist.collectives import broadcast_json
from tsal_dist.pseudo.step_plan import Plan


@dataclass(frozen=True)
class StepMessage:
    """One small message."""

    plans: tuple[Plan, ...]
    """Those that the others have not heard yet."""
    stop: str
    """Why to stop instead of stepping; empty to go on."""

    def to_json(self) -> dict[str, Any]:
        return {"plans": [plan.to_json() for plan in self.plans], "stop": self.stop}

    @staticmethod
    def from_json(text: Mapping[str, Any]) -> "StepMessage":
        return StepMessage(tuple(Plan.from_json(plan) for plan in text["plans"]), text["stop"])


def agree_on_step(
    rank: int, steps: Iterable[int], find_plan: Callable[[int], Plan | None], stop_reason: Callable[[], str]
) -> StepMessage:
    """Rank 0 decides, every rank hears. Collective.

    `find_plan` is asked on rank 0, step by step; of steps ahead it may know nothing yet. It may also wait, and be asked
    to stop meanwhile: then the rows that it has not found are no reason to train without them.
    """
    mine = None
    if rank == 0:
        plans = tuple(plan for plan in map(find_plan, steps) if plan)
        reason = stop_reason()
        mine = StepMessage(() if reason else plans, reason).to_json()
    return StepMessage.from_json(broadcast_json(mine))
