"""A cell is one training; what came of it is a file, so a long table is made over many calls.

The file's name ends in a digest of everything that `train` was told: other settings make other cells, side by side.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.accuracy.data_set import DataSet
from tools.bench.accuracy.methods import BASELINE, method_words

SAME_TIME = "labels alone, same time"
"""The baseline once more, with as many steps as fit into the time of the slowest method."""

BURN_IN = 0.3
"""Share of the steps that are on labels alone; in a call with fewer steps too."""


@dataclass(frozen=True)
class Variant:
    """Further settings of every method but the baseline, under a name; the first variant has neither."""

    name: str = ""
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One training."""

    data: str
    amount: str
    method: str
    """The method's name and the variant's, as the table shows them."""
    repeat: int
    words: tuple[str, ...]
    """Everything that `train` is told, save for where it writes."""
    labelled: str
    test: str
    video: str

    @property
    def name(self) -> str:
        """Of its file."""
        parts = (self.data, self.amount, self.method, str(self.repeat))
        plain = "_".join("".join(c if c.isalnum() else "-" for c in part) for part in parts)
        return f"{plain}_{hashlib.sha256(json.dumps(self.words).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Result:
    """What a training came to; errors are shares, not %."""

    test: float
    train: float
    """Error on the labelled frames themselves, in plain views: how far the net has fitted them."""
    jitter: float | None
    """None where no frames of the test set are neighbours in a video."""
    teacher: float | None
    """Test error of the teacher, where there is one."""
    seconds: float | None
    """Of training; None where it was interrupted, and its time is not known."""
    fitted: float | None = None
    """Test error of the same net where of its peaks those are taken that fit each other (`evaluate --companions`); None in
    results that are older than the question."""


def list_cells(
    data: DataSet, methods: Sequence[str], variants: Sequence[Variant], config: str, overrides: Sequence[str]
) -> list[Cell]:
    """Every training of a data set, a repetition of everything before the next one."""
    return [
        build_cell(data, amount, method, variant, repeat, data.steps, config, overrides)
        for repeat in range(data.repeats)
        for amount in data.amounts
        for method in methods
        for variant in (variants if method != BASELINE else variants[:1])
    ]


def same_time_cells(
    data: DataSet, cells: Sequence[Cell], results: dict[str, Result], config: str, overrides: Sequence[str]
) -> Iterator[Cell]:
    """The baseline with as much time as the slowest method took, where both times are known."""
    for repeat in range(data.repeats):
        for amount in data.amounts:
            here = [
                cell for cell in cells if (cell.data, cell.amount, cell.repeat) == (data.name, amount, repeat)
            ]
            times = {cell.method: results[cell.name].seconds for cell in here if cell.name in results}
            alone = times.get(BASELINE)
            known = [seconds for method, seconds in times.items() if seconds and method != BASELINE]
            if alone and known:
                steps = round(data.steps * max(known) / alone)
                yield build_cell(
                    data, amount, BASELINE, Variant(), repeat, steps, config, overrides, SAME_TIME
                )


def cell_words(
    data: DataSet,
    amount: str,
    method: str,
    variant: Variant,
    repeat: int,
    steps: int,
    overrides: Sequence[str],
) -> list[str]:
    """The settings of one training; later ones win."""
    fold = data.fold(repeat)
    return [
        f"train.steps={steps}",
        f"train.burn_in_steps={math.ceil(BURN_IN * data.steps)}",
        *data.settings,
        "runtime.topology=inline",
        *overrides,
        *(variant.settings if method != BASELINE else ()),
        *method_words(method),
        f"train.seed={repeat}",
        f"data.labelled={fold.labelled[amount]}",
        f"data.unlabelled={fold.unlabelled}",
        f"data.validation={fold.validation}",
        f"runtime.checkpoint.every={steps}",
    ]


def build_cell(
    data: DataSet,
    amount: str,
    method: str,
    variant: Variant,
    repeat: int,
    steps: int,
    config: str,
    overrides: Sequence[str],
    shown: str = "",
) -> Cell:
    """One training of a data set; `shown` is the method's name in the table, where it is not its own."""
    words = [f"--config={config}", *cell_words(data, amount, method, variant, repeat, steps, overrides)]
    fold = data.fold(repeat)
    title = shown or f"{method} {variant.name}".strip()
    return Cell(data.name, amount, title, repeat, tuple(words), fold.labelled[amount], fold.test, data.video)


def read_result(folder: Path, cell: Cell) -> Result | None:
    """What an earlier call has found, if one has."""
    kept = folder / f"{cell.name}.json"
    if not kept.exists():
        return None
    return Result(**json.loads(kept.read_text())["result"])


def keep_result(folder: Path, cell: Cell, result: Result) -> None:
    """Keep it for later calls; with the words, for whoever looks at the file."""
    from dataclasses import asdict

    from tsal_dist.run_dir import write_whole

    record = {
        "data": cell.data,
        "amount": cell.amount,
        "method": cell.method,
        "repeat": cell.repeat,
        "words": cell.words,
        "result": asdict(result),
    }
    write_whole(folder / f"{cell.name}.json", json.dumps(record, indent=1).encode())
