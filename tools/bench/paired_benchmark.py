"""Two ways to do one thing, measured in turns: only the ratio of such a pair means something on a shared machine.

Rounds go A B, B A, A B ... so that a machine that slows down or warms up favours neither.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tsal_dist.planning.system import describe_system as describe_system

Side = Callable[[], int]
"""Does its work once and returns how many items it did."""


@dataclass(frozen=True)
class PairedResult:
    """What came out, in items per second and ours / baseline."""

    name: str
    aim: float
    ratio: float
    """Median over the rounds."""
    ratio_low: float
    """Lower and upper quartile."""
    ratio_high: float
    ours_per_s: float
    baseline_per_s: float
    rounds: int

    def line(self) -> str:
        verdict = "meets" if self.ratio >= self.aim else "MISSES"
        return (
            f"{self.name}: {self.ratio:.2f} x the baseline [{self.ratio_low:.2f}, {self.ratio_high:.2f}], {verdict} "
            f"{self.aim:.3g} ({_brief(self.ours_per_s)}/s against {_brief(self.baseline_per_s)}/s, "
            f"{self.rounds} rounds)"
        )


def compare_in_turns(
    name: str,
    aim: float,
    ours: Side,
    baseline: Side,
    rounds: int = 7,
    tidy: Callable[[], None] = lambda: None,
) -> PairedResult:
    """Warm both up once, then time them in turns; `tidy` runs after each turn, outside of its time."""

    def rate(side: Side) -> float:
        start = time.perf_counter()
        items = side()
        elapsed_s = time.perf_counter() - start
        tidy()
        return items / elapsed_s

    rate(ours)
    rate(baseline)
    pairs = []
    for number in range(rounds):
        if number % 2:
            second, first = rate(baseline), rate(ours)
        else:
            first, second = rate(ours), rate(baseline)
        pairs.append((first, second))
    return settle(name, aim, pairs)


def settle(name: str, aim: float, pairs: Sequence[tuple[float, float]]) -> PairedResult:
    """The result of rounds that were timed elsewhere: what we did per second, and the baseline, in each."""
    ratios = [mine / theirs for mine, theirs in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(pairs) > 1 else ratios * 3
    return PairedResult(
        name=name,
        aim=aim,
        ratio=middle,
        ratio_low=low,
        ratio_high=high,
        ours_per_s=statistics.median(mine for mine, _ in pairs),
        baseline_per_s=statistics.median(theirs for _, theirs in pairs),
        rounds=len(pairs),
    )


def json_line(results: list[PairedResult], **settings: str | int | float | bool) -> str:
    """One line that says what was measured, on what, and from which commit."""
    return json.dumps(
        {"results": [asdict(each) for each in results], "settings": settings, "system": describe_system()}
    )


def _brief(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def system_in_words(system: Mapping[str, str | int | None]) -> str:
    """The same in a line of a page."""
    return (
        f"{system['cores']} cores ({system['cpu']}, {system['machine']}), Python {system['python']}, "
        f"commit {system['commit']}"
    )
