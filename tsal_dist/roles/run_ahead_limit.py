"""How far a student that has no labels may run ahead of a teacher that is making some.

Steps on labelled frames alone are quick, and two things follow from that. Each makes the labels that are under way
older: where they come too late because of it, the student has none again and runs on again, and not one label is ever
used. And each brings the next version nearer, which a teacher takes in before it labels: it can be busy with taking in
alone. Both roles are well then, and hardly a label is used.

It shows when labels are dropped as stale while no others are there, and when several versions were published between
two steps with labels. From then on a student without labels waits for a teacher that is at work once it is one version
ahead of its last ones, or half of what labels may lag. Before that, and where no teacher is, it waits for nobody.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tsal_dist.pseudo.intake import STALE
from tsal_dist.pseudo.step_plan import Plan

log = logging.getLogger(__name__)

MANY_VERSIONS = 3
"""One may fall due between any two steps, and a second one while a segment is made."""


@dataclass
class RunAheadLimit:
    """Rank 0's. Told of every plan, in order."""

    publish_every: int
    taut: bool = False
    """Whether the student was seen to outrun its teacher."""
    _fed_step: int = 0

    def observe(self, plan: Plan, teacher_is_at_work: Callable[[], bool]) -> None:
        """Learn from what a plan got, and from what it did not get."""
        if not self.taut and (symptom := self._find_symptom(plan)) and teacher_is_at_work():
            self.taut = True
            log.warning(
                "step %d: %s: the student had run on without any. From now on it waits for its teacher where it would "
                "outrun it. To wait less: more teachers, smaller runtime.queue.segment_rows.",
                plan.step,
                symptom,
            )
        if plan.rows_per_rank:
            self._fed_step = plan.step

    def holds(self, step: int, bound_steps: float) -> bool:
        """Whether a step without labels would go too far."""
        return self.taut and step - self._fed_step > min(self.publish_every, bound_steps / 2)

    def _find_symptom(self, plan: Plan) -> str:
        if not plan.rows_per_rank:
            late = plan.reasons.get(STALE, 0)
            return f"{late} rows of labels came too late" if late else ""
        versions = (plan.step - self._fed_step) // self.publish_every
        if self._fed_step and versions >= MANY_VERSIONS:
            return f"labels came after {versions} versions, all of which their teacher had to take in first"
        return ""
