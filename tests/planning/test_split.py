"""The plan by hand, at its limits, and against the simulation of the same."""

import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.planning.split import (
    Costs,
    Luck,
    Split,
    best_split,
    forecast,
    ideal_gain,
    simulate_split,
    simulate_synchronous,
    split_rate,
    synchronous_rate,
)

LIGHT = Costs(student_s=0.06, teacher_s=0.02)
EVEN = Costs(student_s=0.05, teacher_s=0.05)
HEAVY = Costs(student_s=0.05, teacher_s=0.2)


def test_rates_by_hand():
    assert synchronous_rate(LIGHT, 4) == pytest.approx(50)
    assert split_rate(LIGHT, Split(3, 1)) == pytest.approx(50)  # both sides are exactly busy
    assert split_rate(HEAVY, Split(1, 1)) == pytest.approx(5)
    assert split_rate(HEAVY, Split(1, 1), reuse=4) == pytest.approx(20)
    assert split_rate(HEAVY, Split(1, 1), reuse=4, keep=0.5) == pytest.approx(10)
    assert split_rate(HEAVY, Split(2, 2, shared=True), keep=0.5) == pytest.approx(2 / 0.45)


def test_a_process_that_meets_nobody_is_quicker():
    costs = Costs(student_s=0.06, teacher_s=0.05, lone=Costs(0.04, 0.03))
    assert synchronous_rate(costs, 2) == pytest.approx(2 / 0.11)
    assert split_rate(costs, Split(1, 1)) == pytest.approx(25)
    assert split_rate(costs, Split(2, 1)) == pytest.approx(2 / 0.06)
    assert split_rate(costs, Split(1, 2)) == pytest.approx(25)
    assert split_rate(costs, Split(2, 2, shared=True)) == pytest.approx(2 / 0.11)
    for split in (Split(1, 1), Split(3, 1), Split(2, 2)):
        expected = split_rate(costs, split, reuse=2)
        assert simulate_split(costs, split, Luck(), reuse=2) == pytest.approx(expected, rel=0.01)
    assert forecast(costs, Split(1, 1)).student_busy == pytest.approx(1)


def test_a_slow_process_slows_work_and_not_meetings():
    costs = Costs(student_s=0.06, teacher_s=0.05, lone=Costs(0.04, 0.03))
    slow = Luck(slow=3.0)
    assert simulate_synchronous(costs, 2, Luck()) == pytest.approx(synchronous_rate(costs, 2))
    assert simulate_synchronous(costs, 2, slow) == pytest.approx(2 / (3 * 0.07 + 0.04))
    assert simulate_split(costs, Split(1, 1), slow, reuse=9) == pytest.approx(25, rel=0.01)
    assert simulate_split(costs, Split(2, 1), slow, reuse=9) == pytest.approx(2 / 0.06, rel=0.01)


@pytest.mark.parametrize("procs", [2, 3, 5, 8, 64])
@pytest.mark.parametrize("costs", [LIGHT, EVEN, HEAVY])
def test_at_equal_work_no_split_gains(costs, procs):
    found = best_split(costs, procs)
    assert found.gain <= 1 + 1e-9
    assert not found.worthwhile


def test_many_processes_come_close_to_the_ideal():
    few, many = (best_split(HEAVY, procs, reuse=3).gain for procs in (3, 300))
    assert few < many
    assert many == pytest.approx(ideal_gain(HEAVY, reuse=3), rel=0.01)
    assert ideal_gain(HEAVY, reuse=4) == pytest.approx(2.5)


def test_the_best_split_balances_the_roles():
    found = best_split(HEAVY, 10, reuse=1)
    assert found.split == Split(2, 8)
    assert found.gain == pytest.approx(1)
    assert found.student_busy == pytest.approx(1)
    assert best_split(LIGHT, 2).student_busy == pytest.approx(1)
    assert best_split(HEAVY, 2).student_busy == pytest.approx(0.25)


def test_without_luck_the_simulation_agrees_with_arithmetic():
    none = Luck()
    assert simulate_synchronous(HEAVY, 4, none) == pytest.approx(synchronous_rate(HEAVY, 4))
    for split in (Split(1, 1), Split(3, 1), Split(2, 6)):
        for reuse in (1, 4):
            for costs in (LIGHT, HEAVY):
                expected = split_rate(costs, split, reuse)
                assert simulate_split(costs, split, none, reuse) == pytest.approx(expected, rel=0.03)
    assert simulate_split(EVEN, Split(1, 1), none, keep=0.5) == pytest.approx(10, rel=0.03)


def test_a_slow_teacher_holds_nobody_up():
    """One of two processes at half speed: together they are as slow as it; a teacher that has time for it is not."""
    slow = Luck(slow=2)
    assert simulate_synchronous(LIGHT, 2, slow) == pytest.approx(synchronous_rate(LIGHT, 2) / 2)
    assert simulate_split(LIGHT, Split(1, 1), slow) == pytest.approx(split_rate(LIGHT, Split(1, 1)), rel=0.03)
    found = best_split(LIGHT, 2, luck=slow)
    assert found.gain == pytest.approx(0.08 / 0.06, rel=0.03)
    assert found.worthwhile


def test_luck_costs_those_who_meet_more_than_those_who_do_not():
    luck = Luck(cv=0.3)
    together = simulate_synchronous(EVEN, 8, luck) / synchronous_rate(EVEN, 8)
    apart = simulate_split(EVEN, Split(4, 4), luck) / split_rate(EVEN, Split(4, 4))
    assert together < apart < 1
    assert forecast(EVEN, Split(4, 4), luck=luck).gain == pytest.approx(apart / together)
    alone = simulate_synchronous(EVEN, 1, luck, steps=20_000)
    assert alone == pytest.approx(synchronous_rate(EVEN, 1), rel=0.01)  # the factors have mean one


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ConfigError, match="two roles"):
        best_split(EVEN, 1)
    with pytest.raises(ConfigError, match="keep rate"):
        best_split(EVEN, 2, keep=0.0)
    with pytest.raises(ConfigError, match="keep rate"):
        best_split(EVEN, 2, reuse=0)
    with pytest.raises(ConfigError, match="Measure again"):
        Costs(0.1, 0.0)
    with pytest.raises(ConfigError, match="share a device"):
        simulate_split(EVEN, Split(2, 2, shared=True), Luck())
