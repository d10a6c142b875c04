"""Where plans come from: a queue of labels (`Planner`), or the plans of another run (`roles.replay`)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.pseudo.topic import Topic


class PlanSource(Protocol):
    """What a student's rank 0 asks for the rows of its steps."""

    @property
    def topic(self) -> Topic: ...

    @property
    def pending_rows(self) -> int:
        """Rows that are there and were given to no step yet."""
        ...

    @property
    def reusable_rows(self) -> int:
        """Rows that were trained on and may be trained on again."""
        ...

    @property
    def committed_rows(self) -> int:
        """Rows that there have ever been, as far as is known."""
        ...

    @property
    def bound_steps(self) -> float:
        """How many steps labels may lag; infinite where nothing bounds it."""
        ...

    def tick(self) -> int:
        """Look for new rows, and let their producers see that somebody reads; the rows that came."""
        ...

    def plan(self, step: int, rows_per_rank: int, world: int, *, reuse: bool) -> Plan:
        """The rows of a step. The same step asked again, before it is trained, gives the same rows."""
        ...

    def trained(self, step: int) -> None:
        """All ranks have trained on the plans up to `step`."""
        ...

    def condemn(self, producer: str, seq: int, fault: str) -> None:
        """A segment could not be read: plan none of its rows again."""
        ...

    def commit(self, states: Sequence[Mapping[str, Any]]) -> None:
        """What the kept checkpoints, whose states these are, do not need may go."""
        ...

    def take_verified(self, producer: str, seq: int) -> bytes | None:
        """A segment that was read and verified here already, once; None where it has to be read."""
        ...

    def numbers(self, step: int) -> dict[str, float]:
        """The source at a student step, for the metrics."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...
