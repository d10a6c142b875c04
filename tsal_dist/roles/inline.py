"""Both roles in turn on a fixed schedule, in one process or in lockstep over several: the oracle.

Every `publish_every` student steps the teacher absorbs the student's weights. Every `teacher_cycle` steps it labels
exactly what the student trains on in them. The roles meet in the same files as everywhere else; only the clock is
taken out. So what a run computes depends on its config alone, and an asynchronous run can be compared with it.
"""

import logging

from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import ExitCode
from tsal_dist.roles.lockstep import saves_after, take_turn, teaches_before
from tsal_dist.roles.student import Student, agree_on_step
from tsal_dist.roles.student_loop import Peers, find_plan, take_step
from tsal_dist.roles.student_upkeep import StudentUpkeep
from tsal_dist.roles.teacher_loop import TeacherLinks

log = logging.getLogger(__name__)


def run_inline(
    student: Student, upkeep: StudentUpkeep, peers: Peers, links: TeacherLinks | None, stop: StopFlag
) -> ExitCode:
    """Train to the last step (DONE), or leave early with everything saved (REQUEUE)."""
    resumed = upkeep.resume()
    if links:
        links.resume(resumed)
    while not student.done:
        peers.tick("train", student.step_number)
        if stop.agreed():
            # Asked before the teacher's turn: what it labels for a step that is not taken, it would label again.
            log.warning("stopping at step %d: %s", student.step_number, stop.reason)
            if student.step_number != upkeep.checkpoints.at:
                _save(student, upkeep, links)
            return ExitCode.REQUEUE
        with student.pace.phase("duty"):
            upkeep.before_step()
        if links and teaches_before(student.config, student.step_number):
            with student.pace.phase("wait"):
                take_turn(links, student.step_number)
        message = agree_on_step(student, "", lambda step: find_plan(student, step, peers, stop))
        take_step(student, message)
        if links and saves_after(student.config, student.step_number):
            links.save_at(student.step_number)
        with student.pace.phase("duty"):
            upkeep.after_step()
    if peers.end:
        peers.end.announce("the student has reached its last step")
    if links:
        links.teacher.producer.close()
    return ExitCode.DONE


def _save(student: Student, upkeep: StudentUpkeep, links: TeacherLinks | None) -> None:
    if links:
        links.save_at(student.step_number)
    upkeep.checkpoint()
