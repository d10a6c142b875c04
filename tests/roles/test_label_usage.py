"""What a student was fed, counted."""

from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import Plan, RowRange
from tsal_dist.roles.label_usage import LabelUsage


def part(rows, use, teacher_step):
    return RowRange("teacher-r0000-000001", 0, 0, rows, use, teacher_step, 1, 1)


def test_rows_are_counted_by_age_and_use():
    usage = LabelUsage(Staleness(0.99))
    assert usage.numbers() == {"queue/reused": 0, "queue/missing": 0}, "nothing to show yet"
    usage.take(Plan(40, 40, [[part(8, 1, 40)], [part(4, 1, 30), part(4, 2, 9)]], 4))
    usage.take(Plan(41, 41, [[part(8, 1, 30)], [part(8, 1, 30)]], 0))
    found = usage.numbers()
    assert (found["queue/reused"], found["queue/missing"]) == (4, 8)
    assert found["queue/trained"] == 32
    assert found["queue/trained_steps_most"] == 31
    assert [found[f"queue/trained_steps_le_{edge}"] for edge in (0, 10, 30, 100)] == [8, 12, 28, 32]
    # 1 - .99^10 is .096, 1 - .99^31 is .27
    assert [found[f"queue/trained_rho_le_{edge:g}"] for edge in (0.05, 0.1, 0.2, 0.3)] == [8, 12, 28, 32]
