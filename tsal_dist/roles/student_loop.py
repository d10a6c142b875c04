"""A student role's life: step after step until the run is done, somebody asks it to stop, or nothing can be learnt.

Where its teacher is does not matter here: beside it in this process, in another one that keeps step with it, or at work
at its own pace. That is a `Schedule`.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

from tsal_dist.dist.collectives import gather_json
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import DataError, ExitCode
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.roles.peers import Peers
from tsal_dist.roles.plan_finder import PlanFinder
from tsal_dist.roles.step_message import StepMessage, agree_on_step
from tsal_dist.roles.student import Student
from tsal_dist.roles.student_upkeep import StudentUpkeep

log = logging.getLogger(__name__)


class Schedule(Protocol):
    """When a teacher has its turn. Collective, where its teacher is."""

    def resume(self, step: int | None) -> None:
        """The student goes on from here; None at the beginning."""
        ...

    def before_step(self, step: int) -> None:
        """Return when the teacher has done what it does before this step, or when this process is asked to stop."""
        ...

    def after_step(self, step: int) -> None:
        """The student has come to this step, and will say so in a checkpoint."""
        ...

    def save(self, step: int) -> None:
        """The student leaves early, here."""
        ...

    def end(self) -> None:
        """The last step was reached."""
        ...


class OwnPace:
    """Of a teacher that waits for nobody, and for which nobody waits; or of none. Nothing is to be done."""

    def resume(self, step: int | None) -> None:
        pass

    def before_step(self, step: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def save(self, step: int) -> None:
        pass

    def end(self) -> None:
        pass


@dataclass(frozen=True)
class StudentLoop:
    """One rank's."""

    student: Student
    upkeep: StudentUpkeep
    peers: Peers
    schedule: Schedule
    finder: PlanFinder | None
    """Rank 0's, of a method that learns from labels of a teacher."""
    stop: StopFlag

    def run(self) -> ExitCode:
        """Train to the last step (DONE), or leave early with everything saved (REQUEUE)."""
        resumed = self.upkeep.resume()
        self.schedule.resume(resumed)
        if resumed is not None and self.student.done:
            log.info("the run had reached its last step already")
        while not self.student.done:
            if not self._step():
                return self._leave()
        self.peers.announce_end("the student has reached its last step")
        self.schedule.end()
        return ExitCode.DONE

    def _step(self) -> bool:
        """Take one step, or none where the role was asked to stop before it."""
        student, step = self.student, self.student.step_number
        self.peers.tick("train", step)
        if self.stop.agreed():
            return False
        with student.pace.phase("upkeep"):
            self.upkeep.before_step()
        with student.pace.phase("wait"):
            self.schedule.before_step(step)
            message = agree_on_step(
                student.rank, student.steps_to_plan(), self._find_plan, lambda: self.stop.reason
            )
        if message.stop:
            self.stop.request(message.stop)
            return False
        take_step(student, message)
        self.schedule.after_step(student.step_number)
        with student.pace.phase("upkeep"):
            self.upkeep.after_step()
        return True

    def _find_plan(self, step: int) -> Plan | None:
        assert self.finder is not None, "rank 0 of a role that reads labels can find them"
        return self.finder.find(step, self.student.step_number)

    def _leave(self) -> ExitCode:
        step = self.student.step_number
        log.warning("stopping at step %d: %s", step, self.stop.reason)
        if step != self.upkeep.checkpoints.at:
            self.schedule.save(step)
            self.upkeep.checkpoint()
        return ExitCode.REQUEUE


def take_step(student: Student, message: StepMessage) -> None:
    """Train on what was ordered, have read what comes next, and let the planner know."""
    for plan in message.plans:
        student.expect(plan)
    step = student.step_number
    if student.usage and step in student.coming:
        student.usage.take(student.coming[step])
    with student.profiler.step():
        student.step()
    _report_damage(student)
    if student.planner:
        student.planner.trained(step)


def _report_damage(student: Student) -> None:
    """Have rank 0 plan nothing more of what any rank could not read. A replay ends there, on any rank."""
    damaged = student.feed.consumer.damaged if student.feed else {}
    found = [(producer, seq, fault) for (producer, seq), fault in damaged.items()]
    if found and student.config.runtime.replay:
        producer, seq, fault = found[0]
        raise DataError(f"Segment {seq} of {producer} was lost during the replay: {fault}")
    if student.lost_elsewhere:  # a step late, and on all ranks at once: else nobody has to ask
        found = [segment for told in gather_json(found) for segment in told]
        student.lost_elsewhere = False
    elif student.rank:
        return  # the others do not know yet
    if student.planner:
        for producer, seq, fault in found:
            student.planner.condemn(producer, seq, fault)
    damaged.clear()
