"""How far a student that has no labels may run ahead of a teacher that is making some.

Steps on labelled frames alone are quick, and each makes the labels that are under way older. Where they come too late
because of that, the student has none again and runs on again: both roles are well, and not one label is ever used. That
it has come to this shows when labels are dropped as stale while no others are there. From then on a student without
labels waits, once it is half of what labels may lag ahead of its last ones, as long as its teacher is at work. Before
that, and where no teacher is, it waits for nobody.
"""

import logging
from dataclasses import dataclass

from tsal_dist.pseudo.intake import STALE
from tsal_dist.pseudo.step_plan import Plan

log = logging.getLogger(__name__)


@dataclass
class RunAheadLimit:
    """Rank 0's. Told of every plan, in order."""

    taut: bool = False
    """Whether labels came too late when there were no others."""
    _fed_step: int = 0

    def observe(self, plan: Plan) -> None:
        """Learn from what a plan got, and from what it did not get."""
        if plan.rows_per_rank:
            self._fed_step = plan.step
        elif plan.reasons.get(STALE) and not self.taut:
            self.taut = True
            log.warning(
                "step %d: %d rows of labels came too late: the student had run on without any. From now on it waits for "
                "its teacher where it would outrun it. To wait less: more teachers, smaller runtime.queue.segment_rows.",
                plan.step,
                plan.reasons[STALE],
            )

    def holds(self, step: int, bound_steps: float) -> bool:
        """Whether a step without labels would go too far."""
        return self.taut and step - self._fed_step > bound_steps / 2
