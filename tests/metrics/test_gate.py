import math

import pytest

from tsal_dist.metrics.gate import ReadinessGate


@pytest.mark.parametrize(
    ("teacher", "student", "opens"),
    [
        (0.05, 0.08, True),
        (0.0509, 0.05, True),
        (0.0511, 0.05, False),
        (0.146, 0.082, False),
        (math.nan, 0.08, False),
        (0.05, math.nan, False),
        (math.inf, math.inf, False),
    ],
)
def test_only_a_teacher_as_good_as_its_student_teaches(teacher, student, opens):
    gate = ReadinessGate()
    gate.observe_teacher(teacher)
    gate.observe_student(student)
    assert gate.is_open is opens


def test_starts_closed_and_closes_again():
    gate = ReadinessGate()
    assert not gate.is_open
    gate.observe_teacher(0.05)
    assert gate.is_open  # a student that was never measured is no better than anybody
    gate.observe_student(0.04)
    assert not gate.is_open


def test_gate_goes_on_where_it_was():
    gate = ReadinessGate(teacher_nme=0.05, student_nme=0.06)
    other = ReadinessGate()
    other.load_state_dict(gate.state_dict())
    assert other == gate
