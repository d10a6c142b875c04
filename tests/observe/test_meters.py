"""Rates and shares are of the time since the last line; histograms count what they are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.observe.memory import read_memory
from tsal_dist.observe.meters import Histogram, Pace


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_rates_and_shares_since_the_last_line():
    clock = Clock()
    pace = Pace(clock)
    pace.count("frames", 30)
    with pace.phase("wait"):
        clock.now += 1
    clock.now += 3
    assert pace.collect() == {"frames_per_s": 7.5, "wait_share": 0.25}
    clock.now += 2
    assert pace.collect() == {"frames_per_s": 0.0, "wait_share": 0.0}


def test_a_phase_that_fails_still_counts():
    clock = Clock()
    pace = Pace(clock)

    def fail():
        with pace.phase("wait"):
            clock.now += 1
            raise ValueError("reason")

    with pytest.raises(ValueError, match="reason"):
        fail()
    assert pace.collect() == {"wait_share": 1.0}


@given(st.lists(st.integers(-5, 25), max_size=50))
def test_a_histogram_counts_every_value_once(values):
    histogram = Histogram([0, 5, 10, 20])
    histogram.add(values)
    assert histogram.number == len(values)
    assert histogram.total == sum(values)
    assert histogram.counts[0] == sum(value < 0 for value in values)
    assert histogram.counts[2] == sum(5 <= value < 10 for value in values)
    assert histogram.counts[-1] == sum(value >= 20 for value in values)


def test_quantiles_are_upper_edges():
    histogram = Histogram([1, 2, 4, 8])
    histogram.add([0, 1, 1, 3, 3, 3, 3, 3, 3, 100])
    assert (histogram.quantile(0.1), histogram.quantile(0.3), histogram.quantile(0.5)) == (1, 2, 4)
    assert histogram.quantile(1.0) == 8


def test_memory_grows_by_what_is_held():
    before = read_memory()["memory/rss_gb"]
    held = b"x" * 200_000_000
    after = read_memory()["memory/rss_gb"]
    assert 0.1 < after - before < 0.4
    assert held
