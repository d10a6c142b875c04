"""Cells at a time, and how long the rest takes."""

import math
import threading

import pytest

from tools.bench.accuracy.cells import Cell, Result
from tools.bench.accuracy.schedule import Clock, run_cells
from tsal_dist.errors import TrainingError

FINE = Result(0.1, 0.1, 0.1, None, 1.0)


def cells(count=4):
    return [Cell("d", "1", method, place, (), "", "", "") for place in range(count) for method in ("a", "b")]


def test_the_rest_takes_as_long_as_its_kind_took():
    clock = Clock(jobs=2)
    assert math.isnan(clock.remaining_s(cells()))
    clock.note(cells()[0], 10.0)
    assert clock.remaining_s(cells()) == pytest.approx(8 * 10 / 2), "b is not known yet: as a"
    clock.note(cells()[1], 30.0)
    assert clock.remaining_s(cells()) == pytest.approx((4 * 10 + 4 * 30) / 2)
    assert clock.remaining_s(cells()[:1]) == pytest.approx(10.0), "one cell is not faster for two jobs"


def test_a_failure_stops_nobody():
    seen, broken = [], []

    def train(cell):
        if cell.method == "b" and cell.repeat == 0:
            raise TrainingError("no")
        return FINE

    run_cells(
        cells(2), train, 1, Clock(1), lambda cell, *_: seen.append(cell), lambda cell, _: broken.append(cell)
    )
    assert [(cell.method, cell.repeat) for cell in seen] == [("a", 0), ("a", 1), ("b", 1)]
    assert [(cell.method, cell.repeat) for cell in broken] == [("b", 0)]


def test_as_many_at_a_time_as_asked_for():
    meeting, most, now, lock = threading.Barrier(2, timeout=20), [0], [0], threading.Lock()

    def train(cell):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        meeting.wait()
        with lock:
            now[0] -= 1
        return FINE

    run_cells(cells(2), train, 2, Clock(2), lambda *_: None, lambda *_: None)
    assert most[0] == 2
