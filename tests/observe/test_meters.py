"""Rates and shares are of the time since the last line."""

import subprocess
import sys

import pytest

from tsal_dist.observe.meters import Pace


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


HOLDS_MORE = """
from tsal_dist.observe.memory import read_memory
before = read_memory()["memory/rss_gb"]
held = b"x" * 200_000_000
print(read_memory()["memory/rss_gb"] - before)
"""


@pytest.mark.slow
def test_memory_grows_by_what_is_held():
    """In a process of its own: this one gives back what other tests held whenever it likes."""
    done = subprocess.run([sys.executable, "-c", HOLDS_MORE], capture_output=True, text=True, check=True)
    assert 0.15 < float(done.stdout) < 0.25
