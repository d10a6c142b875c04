"""The time that loops go by, and how a span of it is told; a test plays hours in a moment with a clock of its own."""

import math
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only ever grow, from an arbitrary start."""

    def now_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class MonotonicClock:
    """This machine's."""

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def format_time(seconds: float) -> str:
    """`1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def time_in_words(seconds: float) -> str:
    """As a person says it: 40 s, 12 min, 3 h 5 min."""
    if math.isnan(seconds):
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
