"""A leak is told from breathing, and nothing is said of a life that was too short."""

import os
import random

import pytest

from tools.soak.process_growth import LEAST_S, SETTLED_S, Life, ProcessGrowth, slope


def vitals_of(seconds, rss_mb, descriptors):
    growth = ProcessGrowth()
    samples = [(float(t), rss_mb(t), descriptors(t)) for t in range(seconds)]
    growth.lives["student", 1] = Life("student", 1, samples)
    return growth


def test_the_slope_is_the_line_and_not_the_jumps():
    points = [(float(t), 3.0 * t) for t in range(60)]
    assert slope(points) == pytest.approx(3.0)
    points[10], points[50] = (10.0, 900.0), (50.0, -900.0)
    assert slope(points) == pytest.approx(3.0)
    assert slope([]) == slope([(1.0, 1.0)]) == 0


def test_growth_is_a_fault_and_breathing_is_not():
    rng = random.Random(0)
    leak = vitals_of(400, lambda t: 500 + t / 5, lambda t: 40)
    (growth,) = leak.growths()
    assert growth.rss_mb_per_min == pytest.approx(12)
    assert "memory of student 1 grew by 12.0 MB/min" in growth.fault
    descriptors = vitals_of(400, lambda t: 500.0, lambda t: 40 + t // 20)
    assert "descriptors of student 1 grew" in descriptors.growths()[0].fault
    breathing = vitals_of(400, lambda t: 500 + rng.uniform(-60, 60), lambda t: 40 + t % 5)
    assert breathing.growths()[0].fault == ""


def test_warming_up_is_not_growth():
    warm = vitals_of(400, lambda t: 500.0 + 20 * min(t, SETTLED_S), lambda t: min(t, 40))
    assert warm.growths()[0].fault == ""


def test_a_short_life_is_not_judged():
    assert vitals_of(int(SETTLED_S + LEAST_S) - 1, lambda t: 500.0 + t, lambda t: t).growths() == []


def test_a_living_process_is_seen_once_a_second_and_a_dead_one_is_not():
    now = [0.0]
    growth = ProcessGrowth(lambda: now[0])
    for at in (0.0, 0.1, 0.9, 1.1, 1.2, 2.5):
        now[0] = at
        growth.sample(lambda: [("student", os.getpid()), ("teacher", 2**22 + 1)])
    assert list(growth.lives) == [("student", os.getpid())]
    samples = growth.lives["student", os.getpid()].samples
    assert [at for at, _, _ in samples] == [0.0, 1.1, 2.5]
    assert all(mb > 1 and count > 2 for _, mb, count in samples)
