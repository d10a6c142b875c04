"""Numbers that build up between two lines of metrics: rates and shares of time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Pace:
    """Counts and phases since the last `collect`, as rates per second and shares of the time.

    One thread's. Phases do not nest: time is in one phase or in none.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        mark: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    ) -> None:
        """`mark` is entered around every phase: what names it to a profiler."""
        self._clock = clock
        self._mark = mark
        self._since = clock()
        self._counts: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Note that `number` more of `name` were done."""
        self._counts[name] += number

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block as `name`."""
        begun = self._clock()
        try:
            with self._mark(name):
                yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - begun

    def collect(self) -> dict[str, float]:
        """`<name>_per_s` for every count, `<name>_share` for every phase ever seen; then begin anew."""
        now = self._clock()
        passed = max(now - self._since, 1e-9)
        numbers = {f"{name}_per_s": number / passed for name, number in self._counts.items()}
        numbers |= {f"{name}_share": seconds / passed for name, seconds in self._seconds.items()}
        self._since = now
        # What has been counted once stays on the record with zero: a missing number hides a standstill.
        self._counts = Counter(dict.fromkeys(self._counts, 0))
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return numbers
