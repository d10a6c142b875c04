"""Both roles in turn on a fixed schedule, in one process or in lockstep over several: the oracle.

Every `publish_every` student steps the teacher absorbs the student's weights. Every `teacher_cycle` steps it labels
exactly what the student trains on in them. The roles meet in the same files as everywhere else; only the clock is
taken out. So what a run computes depends on its config alone, and an asynchronous run can be compared with it.
"""

import logging

from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import ExitCode
from tsal_dist.loops.duties import Duties
from tsal_dist.loops.lockstep import saves_after, take_turn, teaches_before
from tsal_dist.loops.student import Student, give_orders
from tsal_dist.loops.student_run import Company, find_plan, take_step
from tsal_dist.loops.teacher_run import Post

log = logging.getLogger(__name__)


def run_inline(
    student: Student, duties: Duties, company: Company, post: Post | None, stop: StopFlag
) -> ExitCode:
    """Train to the last step (DONE), or leave early with everything saved (REQUEUE)."""
    resumed = duties.resume()
    if post:
        post.resume(resumed)
    while not student.done:
        company.tick("train", student.step_number)
        if stop.agreed():
            # Asked before the teacher's turn: what it labels for a step that is not taken, it would label again.
            log.warning("stopping at step %d: %s", student.step_number, stop.reason)
            if student.step_number != duties.checkpoints.latest_committed():
                _save(student, duties, post)
            return ExitCode.REQUEUE
        with student.pace.phase("duty"):
            duties.before_step()
        if post and teaches_before(student.config, student.step_number):
            with student.pace.phase("wait"):
                take_turn(post, student.step_number)
        orders = give_orders(student, "", lambda step: find_plan(student, step, company, stop))
        take_step(student, orders)
        if post and saves_after(student.config, student.step_number):
            post.save_at(student.step_number)
        with student.pace.phase("duty"):
            duties.after_step()
    if company.end:
        company.end.announce("the student has reached its last step")
    if post:
        post.teacher.producer.close()
    return ExitCode.DONE


def _save(student: Student, duties: Duties, post: Post | None) -> None:
    if post:
        post.save_at(student.step_number)
    duties.checkpoint()
