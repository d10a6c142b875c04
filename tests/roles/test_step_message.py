"""Which steps are planned when: this one, and those ahead for which there is something already."""

from types import SimpleNamespace

import pytest

from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.roles.plan_finder import PlanFinder
from tsal_dist.roles.step_message import agree_on_step
from tsal_dist.roles.student import Student

BURN_IN, STEPS, ROWS = 3, 10, 8


class Planner:
    """Has so many rows and plans whatever it is asked."""

    def __init__(self, pending):
        self.pending_rows = pending
        self.bound_steps = 100

    def tick(self):
        pass

    def plan(self, step, rows, world, reuse):
        taken = min(self.pending_rows, rows * world)
        self.pending_rows -= taken
        return Plan(step, step, ((),) * world, (rows * world - taken) // world)


def student_at(step, ahead, pending=1000, unlabelled=1.0):
    """One that only plans."""
    train = SimpleNamespace(
        burn_in_steps=BURN_IN,
        steps=STEPS,
        unlabelled_batch=ROWS,
        loss=SimpleNamespace(unlabelled=unlabelled),
    )
    queue = SimpleNamespace(on_starvation="reuse")
    student = object.__new__(Student)
    runtime = SimpleNamespace(queue=queue, weights=SimpleNamespace(publish_every=10))
    student.config = SimpleNamespace(train=train, runtime=runtime)
    student.engine = SimpleNamespace(steps=step)
    student.rank, student.world, student.ahead, student.coming = 0, 1, ahead, {}
    student.feed, student.planner = SimpleNamespace(), Planner(pending)
    return student


def planned(student, asked=""):
    stop = StopFlag()
    stop.request(asked)
    peers = SimpleNamespace(teacher_is_at_work=lambda: False)
    finder = PlanFinder(student.planner, student.config, 1, peers, stop, None)
    message = agree_on_step(
        student.rank,
        student.steps_to_plan(),
        lambda step: finder.find(step, student.step_number),
        lambda: stop.reason,
    )
    assert message.stop == asked
    for plan in message.plans:
        student.coming[plan.step] = plan
    return [plan.step for plan in message.plans]


@pytest.mark.parametrize(
    ("step", "ahead", "expected"),
    [(0, 0, []), (0, 1, []), (2, 1, [3]), (3, 0, [3]), (3, 1, [3, 4]), (9, 1, [9])],
)
def test_steps_from_burn_in_to_the_last_are_planned(step, ahead, expected):
    assert planned(student_at(step, ahead)) == expected


def test_each_step_is_planned_once():
    student = student_at(4, ahead=1)
    assert planned(student) == [4, 5]
    student.engine.steps, _ = 5, student.coming.pop(4)
    assert planned(student) == [6]


def test_a_step_ahead_waits_for_fresh_rows_and_this_one_does_not():
    student = student_at(4, ahead=1, pending=ROWS + 1)
    assert planned(student) == [4]
    student.engine.steps, _ = 5, student.coming.pop(4)
    assert planned(student) == [5]
    assert student.coming[5].short_rows == ROWS - 1, "by now it is its turn"


def test_nothing_is_planned_for_a_student_that_stops():
    assert planned(student_at(4, ahead=1), asked="SIGTERM") == []
