"""A rank above 0 that cannot read its rows: rank 0 hears of it a step later, and plans nothing more of that segment."""

from types import SimpleNamespace

import pytest
import torch

from tests.fakes_rows import Scene, make_batch
from tests.ranks import run_ranks
from tsal_dist.exchange.memory import MemoryStore

NAMES = "teacher-r0000-000001", "teacher-r0001-000001"


def lose(rank, world, lost_by_rank):
    """What rank 0 has condemned after each step, and what each rank has still to tell after it."""
    from tsal_dist.dist.step_sums import StepSums
    from tsal_dist.roles.student import Student
    from tsal_dist.roles.student_loop import _report_damage

    condemned, after = [], []
    student = object.__new__(Student)
    student.config = SimpleNamespace(runtime=SimpleNamespace(replay=""))
    student.rank, student.world, student.sums = rank, world, StepSums()
    student.gauge = SimpleNamespace(observe=lambda peak: None, reference=1.0)
    student.recipe = SimpleNamespace(
        label=SimpleNamespace(moments=lambda evidence: torch.zeros(2), observe=lambda moments: None)
    )
    student.planner = SimpleNamespace(condemn=lambda *what: condemned.append(what[:2])) if rank == 0 else None
    damaged = dict.fromkeys(lost_by_rank[rank], "rot")
    student.feed = SimpleNamespace(consumer=SimpleNamespace(damaged=damaged))
    seen = SimpleNamespace(peak_NK=torch.ones(2, 3))
    delivered = SimpleNamespace(pseudo=SimpleNamespace(evidence=None))
    for _ in range(3):
        student._take_in_late_sums()
        student.sums.reduce({}, student._late_numbers(seen, delivered))
        _report_damage(student)
        after.append((sorted(set(condemned)), len(damaged)))
    return after


@pytest.mark.ranks
def test_rank_0_hears_of_it_a_step_later_and_once():
    first, second = run_ranks(lose, 2, [[(NAMES[0], 1)], [(NAMES[0], 1), (NAMES[1], 4)]])
    own = [(NAMES[0], 1)]
    both = [*own, (NAMES[1], 4)]
    assert first == [(own, 0), (both, 0), (both, 0)]
    assert [left for _, left in second] == [2, 0, 0]


def test_one_rank_tells_itself_at_once():
    assert lose(0, 1, [[(NAMES[0], 1)]])[0] == ([(NAMES[0], 1)], 0)


def test_a_segment_that_two_ranks_lost_is_one_damaged_segment():
    scene = Scene(MemoryStore())
    producer = scene.producer(max_rows=8)
    producer.publish(make_batch(range(16)), 1)
    planner = scene.planner()
    planner.tick()
    planner.plan(2, 8, 1)
    for _ in range(20):
        planner.condemn(producer.name, 0, "it rotted")  # else this many would end the run
    counts = planner.counts()[producer.name]
    assert counts["committed"] == sum(value for name, value in counts.items() if name != "committed")
