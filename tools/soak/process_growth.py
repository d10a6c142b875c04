"""Memory and descriptors of every training process over its life, and whether they grow.

A life is judged from a while after its first steps on, when pools and caches are full. The slope is Theil and Sen's: the
median over all pairs of samples, which a few jumps do not move.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from launch.processes import PROC

EVERY_S = 1.0
SETTLED_S = 45.0
"""Of a life, left out of the judgement."""
LEAST_S = 60.0
"""A shorter rest says nothing."""
MOST_SAMPLES = 150
RSS_MB, RSS_SHARE = 32.0, 0.08
"""Growth that is allowed over a life: an allocator and a parquet log's tail may breathe."""
DESCRIPTORS = 6.0


@dataclass
class Life:
    """One process. Samples are (seconds, MB, descriptors)."""

    role: str
    pid: int
    samples: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def settled(self) -> list[tuple[float, float, int]]:
        start = self.samples[0][0] + SETTLED_S if self.samples else 0.0
        return [sample for sample in self.samples if sample[0] >= start]


@dataclass(frozen=True)
class Growth:
    """What a settled life gained by its slope."""

    role: str
    pid: int
    seconds: float
    rss_mb: float
    rss_mb_per_min: float
    descriptors: int
    descriptors_per_min: float

    @property
    def fault(self) -> str:
        minutes = self.seconds / 60
        if self.rss_mb_per_min * minutes > max(RSS_MB, RSS_SHARE * self.rss_mb):
            return f"memory of {self.role} {self.pid} grew by {self.rss_mb_per_min:.1f} MB/min for {minutes:.1f} min"
        if self.descriptors_per_min * minutes > DESCRIPTORS:
            return f"descriptors of {self.role} {self.pid} grew by {self.descriptors_per_min:.1f}/min for {minutes:.1f} min"
        return ""


class ProcessGrowth:
    """Call `sample` often; it looks once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lives: dict[tuple[str, int], Life] = {}
        self._clock = clock
        self._next = 0.0

    def sample(self, workers: Callable[[], Iterable[tuple[str, int]]]) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_S
        for role, pid in workers():
            if (seen := _look(pid)) is not None:
                self.lives.setdefault((role, pid), Life(role, pid)).samples.append((now, *seen))

    def growths(self) -> list[Growth]:
        """Of every life that was long enough."""
        found = []
        for life in self.lives.values():
            rest = life.settled
            if len(rest) < 2 or rest[-1][0] - rest[0][0] < LEAST_S:
                continue
            few = rest[:: max(1, len(rest) // MOST_SAMPLES)]
            found.append(
                Growth(
                    life.role,
                    life.pid,
                    rest[-1][0] - rest[0][0],
                    statistics.median(sample[1] for sample in rest),
                    60 * slope([(at, mb) for at, mb, _ in few]),
                    int(statistics.median(sample[2] for sample in rest)),
                    60 * slope([(at, float(count)) for at, _, count in few]),
                )
            )
        return found


def slope(points: list[tuple[float, float]]) -> float:
    """Theil and Sen's, per second."""
    pairs = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for number, sooner in enumerate(points)
        for later in points[number + 1 :]
        if later[0] > sooner[0]
    ]
    return statistics.median(pairs) if pairs else 0.0


def _look(pid: int) -> tuple[float, int] | None:
    try:
        status = (PROC / str(pid) / "status").read_text()
        count = sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return None  # it has just left
    size = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "")
    return (int(size.split()[1]) / 1024, count) if size else None
