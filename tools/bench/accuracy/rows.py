"""A row is what the repetitions of one method at one amount of labels have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.bench.accuracy.cells import Cell, Result
from tools.bench.accuracy.data_set import DataSet
from tools.bench.accuracy.methods import BASELINE


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error; not numbers where there is nothing, or one value only."""

    value: float = math.nan
    error: float = math.nan

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """The error is the sample's deviation over the root of its size."""
        if not values:
            return cls()
        mean = sum(values) / len(values)
        if len(values) < 2:
            return cls(mean)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return cls(mean, math.sqrt(variance / len(values)))


@dataclass(frozen=True)
class Row:
    """One method at one amount of labels."""

    amount: str
    method: str
    repeats: int
    test: Mean
    against_alone: Mean
    """Test error minus that of labels alone in the same repetition: same fold, same seed, so what they have in common
    cancels."""
    ratio: float
    """Of the mean test errors."""
    gap_closed: float
    """Share of what all labels are better by than these; not a number where that is nothing."""
    fitted: Mean
    train: Mean
    jitter: Mean
    teacher: Mean
    seconds: Mean


@dataclass(frozen=True)
class Headroom:
    """What more labels are worth to this net: where it is nothing, a table says nothing about methods."""

    few: Mean
    many: Mean
    gain: Mean
    """Paired by repetition."""

    @property
    def there(self) -> bool:
        """Whether it is more than twice its standard error; one repetition shows nothing."""
        return self.gain.value > 2 * self.gain.error


def summarise(data: DataSet, cells: Sequence[Cell], results: dict[str, Result]) -> list[Row]:
    """The rows of a data set in the cells' order, of what is there."""
    found: dict[tuple[str, str], dict[int, Result]] = {}
    for cell in cells:
        if cell.data == data.name and cell.name in results:
            found.setdefault((cell.amount, cell.method), {})[cell.repeat] = results[cell.name]
    places = {amount: place for place, amount in enumerate(data.amounts)}
    ordered = sorted(found.items(), key=lambda item: places[item[0][0]])
    return [_row(amount, method, mine, found, data.amounts[-1]) for (amount, method), mine in ordered]


def headroom(data: DataSet, cells: Sequence[Cell], results: dict[str, Result]) -> Headroom:
    """Labels alone, with the fewest and with all labels; nothing where there is one amount only."""
    if len(data.amounts) < 2:
        return Headroom(Mean(), Mean(), Mean())
    few, many = (
        {
            cell.repeat: results[cell.name].test
            for cell in cells
            if (cell.data, cell.amount, cell.method) == (data.name, amount, BASELINE) and cell.name in results
        }
        for amount in (data.amounts[0], data.amounts[-1])
    )
    both = [few[repeat] - many[repeat] for repeat in few if repeat in many]
    return Headroom(Mean.of([*few.values()]), Mean.of([*many.values()]), Mean.of(both))


def _row(
    amount: str,
    method: str,
    mine: dict[int, Result],
    found: dict[tuple[str, str], dict[int, Result]],
    most: str,
) -> Row:
    alone, all_labels = found.get((amount, BASELINE), {}), found.get((most, BASELINE), {})
    # Only repetitions that all three have: a partial table must not compare different folds.
    common = [repeat for repeat in mine if repeat in alone and repeat in all_labels]
    here, few, many = (Mean.of([part[r].test for r in common]).value for part in (mine, alone, all_labels))
    paired = [repeat for repeat in mine if repeat in alone] if method != BASELINE else []
    beaten = Mean.of([alone[repeat].test for repeat in paired]).value
    return Row(
        amount,
        method,
        len(mine),
        test=Mean.of([one.test for one in mine.values()]),
        against_alone=Mean.of([mine[repeat].test - alone[repeat].test for repeat in paired]),
        ratio=Mean.of([mine[repeat].test for repeat in paired]).value / beaten if paired else math.nan,
        gap_closed=(few - here) / (few - many) if method != BASELINE and few > many else math.nan,
        fitted=Mean.of([one.fitted for one in mine.values() if one.fitted is not None]),
        train=Mean.of([one.train for one in mine.values()]),
        jitter=Mean.of([one.jitter for one in mine.values() if one.jitter is not None]),
        teacher=Mean.of([one.teacher for one in mine.values() if one.teacher is not None]),
        seconds=Mean.of([one.seconds for one in mine.values() if one.seconds is not None]),
    )
