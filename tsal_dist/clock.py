"""The time that loops go by, and how they let it pass; a test plays hours in a moment with a clock of its own."""

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
