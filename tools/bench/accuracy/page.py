"""The table, in Markdown: a block for each data set, with what its numbers can say."""

import math
from collections.abc import Iterator, Sequence

from tools.bench.accuracy.cells import Cell, Result
from tools.bench.accuracy.data_set import DataSet
from tools.bench.accuracy.methods import BASELINE
from tools.bench.accuracy.rows import Headroom, Mean, Row, headroom, summarise

COLUMNS = (
    "labels",
    "method",
    "n",
    "error, %",
    "against labels alone (paired)",
    "of it",
    "gap closed",
    "read with companions, %",
    "error on its own labels, %",
    "jitter, %",
    "teacher's error, %",
    "s",
)


def write_page(sets: Sequence[DataSet], cells: Sequence[Cell], results: dict[str, Result]) -> str:
    """Of what is there: a table may be looked at before it is whole."""
    return "\n".join(line for data in sets for line in _block(data, cells, results)) + "\n"


def _block(data: DataSet, cells: Sequence[Cell], results: dict[str, Result]) -> Iterator[str]:
    mine = [cell for cell in cells if cell.data == data.name]
    there = sum(cell.name in results for cell in mine)
    yield f"**{data.name}**: {data.about}; {data.steps} student steps."
    if there < len(mine):
        yield f"{there} of {len(mine)} cells are there."
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|{'---:|' * (len(COLUMNS) - 2)}"
    before = ""
    for row in summarise(data, mine, results):
        yield f"| {' | '.join(_line(row, row.amount if row.amount != before else ''))} |"
        before = row.amount
    yield ""
    yield say_headroom(headroom(data, mine, results))
    yield ""


def _line(row: Row, amount: str) -> list[str]:
    return [
        amount,
        "labels alone" if row.method == BASELINE else row.method,
        str(row.repeats),
        _percent(row.test),
        _percent(row.against_alone, "+.2f"),
        "" if math.isnan(row.ratio) else f"{row.ratio:.2f}",
        "" if math.isnan(row.gap_closed) else f"{100 * row.gap_closed:.0f} %",
        _percent(row.fitted),
        _percent(row.train),
        _percent(row.jitter),
        _percent(row.teacher),
        "" if math.isnan(row.seconds.value) else f"{row.seconds.value:.0f}",
    ]


def say_headroom(found: Headroom) -> str:
    """What there is to win: nothing where more labels would not help this net either."""
    if math.isnan(found.gain.value):
        return "Headroom: not known; it takes two amounts of labels."
    text = f"Headroom: {_percent(found.few)} with the fewest labels, {_percent(found.many)} with all of them"
    if math.isnan(found.gain.error):
        return f"{text}; one repetition does not tell how sure that is."
    if found.there:
        return f"{text}."
    return f"{text}: none. More labels would not help this net; take a larger one, or train longer."


def _percent(mean: Mean, form: str = ".2f") -> str:
    if math.isnan(mean.value):
        return ""
    error = "" if math.isnan(mean.error) else f" ± {100 * mean.error:.2f}"
    return f"{100 * mean.value:{form}}{error}"
