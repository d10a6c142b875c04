"""How spans of time are told."""

import math

import pytest

from tsal_dist.clock import format_time, time_in_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(math.nan, "unknown"), (42, "42 s"), (720, "12 min"), (11_100, "3 h 5 min")]
)
def test_a_span_in_words(seconds, words):
    assert time_in_words(seconds) == words


def test_a_span_in_hours_minutes_and_seconds():
    assert [format_time(seconds) for seconds in (5, 3723.4, 100 * 3600)] == [
        "0:00:05",
        "1:02:03",
        "100:00:00",
    ]
