"""Numbers that build up between two lines of metrics: rates, shares of time, histograms."""

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


class Pace:
    """Counts and phases since the last `collect`, as rates per second and shares of the time.

    One thread's. Phases do not nest: time is in one phase or in none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
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


@dataclass
class Histogram:
    """Counts of values between edges; one more count below the first edge and one from the last edge on."""

    edges: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def add(self, values: Iterable[float]) -> None:
        """Sort `values` in; an edge belongs to the bin above it."""
        for value in values:
            self.counts[bisect_right(self.edges, value)] += 1
            self.total += value

    @property
    def number(self) -> int:
        """How many values were added."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The upper edge of the bin that holds this quantile; the last edge for values beyond it."""
        wanted = share * self.number
        seen = 0
        for edge, count in zip(self.edges, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return edge
        return self.edges[-1]
