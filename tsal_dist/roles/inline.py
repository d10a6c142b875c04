"""Both roles in turn on a fixed schedule, in one process: the oracle.

Every `publish_every` student steps the teacher absorbs the student's weights. Every `teacher_cycle` steps it labels
exactly what the student trains on in them. The roles meet in the same files as everywhere else; only the clock is
taken out. So what a run computes depends on its config alone, and an asynchronous run can be compared with it.
"""

from tsal_dist.roles.lockstep import take_turn, teaches_before
from tsal_dist.roles.teacher_loop import TeacherLinks


class Beside:
    """The schedule of a student whose teacher is in this process."""

    def __init__(self, links: TeacherLinks) -> None:
        self._links = links
        self._config = links.teacher.config

    def resume(self, step: int | None) -> None:
        self._links.resume(step)

    def before_step(self, step: int) -> None:
        if teaches_before(self._config, step):
            take_turn(self._links, step)

    def after_step(self, step: int) -> None:
        if self._config.saves_after(step):
            self._links.save_at(step)

    def save(self, step: int) -> None:
        self._links.save_at(step)

    def end(self) -> None:
        self._links.teacher.producer.close()
