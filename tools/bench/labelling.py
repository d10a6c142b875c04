"""What `suggest` is worth: a few labels, then as many again where it points, beside as many again by chance.

    python -m tools.bench.labelling ../mirror-mouse --cells runs/labelling
    python -m tools.bench.labelling ../mirror-mouse --cells runs/labelling --method companions --labels 10 --steps 700

In each fold of an animal's pictures (tools.bench.accuracy.animal) a detector learns `--labels` of them, looks at the rest
that is not held out, and names as many again; the animal's table is the person who labels. One draw by chance may be as good as
the next is bad, so `--draws` of them are averaged. All trainings start anew and have equally many steps. A cell is one training, kept as tools.bench.accuracy keeps it: a call trains what is missing.
"""

import argparse
import hashlib
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bench.accuracy.animal import SETTINGS, deal, draw, read_labelled, split_videos
from tools.bench.accuracy.cells import Cell, Result, Variant, build_cell, read_result
from tools.bench.accuracy.data_set import DataSet, Fold
from tools.bench.accuracy.methods import BASELINE
from tools.bench.accuracy.packing import pack_entries
from tools.bench.accuracy.rows import Mean
from tools.bench.accuracy.schedule import Clock, run_cells
from tools.bench.accuracy.train_cell import train_cell
from tsal_dist.cli import run_entry
from tsal_dist.clock import time_in_words
from tsal_dist.errors import ConfigError, TsalError

if TYPE_CHECKING:
    from tsal_dist.pack.face import Entry

FEW, SUGGESTED, CHANCE = "few", "suggested", "by chance"
APART = 1000
"""Between the seeds of two draws of one fold; folds lie between."""


@dataclass(frozen=True)
class Question:
    """What is asked of every fold, where it is kept, and how many trainings go at a time."""

    source: Path
    folder: Path
    method: str
    labels: int
    draws: int
    steps: int
    folds: int
    jobs: int
    config: str
    overrides: tuple[str, ...]

    @property
    def chances(self) -> list[str]:
        """What each draw is called."""
        return [f"{CHANCE} {number}" for number in range(1, self.draws + 1)]


@dataclass(frozen=True)
class Pictures:
    """Of one fold, places in the animal's table."""

    test: Sequence[int]
    few: Sequence[int]
    others: Sequence[int]
    """Not held out and not among the few: these may be labelled next."""


def main(argv: list[str]) -> int:
    args = build_parser().parse_intermixed_args(argv)
    if min(args.labels, args.draws, args.steps, args.folds, args.jobs) < 1:
        raise ConfigError("--labels, --draws, --steps, --folds and --jobs must be at least 1.")
    question = Question(
        args.animal,
        args.cells,
        args.method,
        args.labels,
        args.draws,
        args.steps,
        args.folds,
        args.jobs,
        args.config,
        tuple(args.overrides),
    )
    loop = Loop(question)
    results = train_all(loop.first_cells(), question, loop.keep_suggestions)
    results |= train_all(loop.further_cells(), question)
    print("\n".join(write_table(question, results)))
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("animal", type=Path, help="its folder: CollectedData.csv, labeled-data/, videos/*.mp4")
    add(
        "--cells",
        type=Path,
        default=Path("runs/labelling"),
        metavar="DIR",
        help="what is kept (runs/labelling)",
    )
    add("--method", default=BASELINE, metavar="NAME", help=f"how it learns ({BASELINE}: labels alone)")
    add("--labels", type=int, default=10, metavar="N", help="first labels, and as many again (10)")
    add("--draws", type=int, default=3, metavar="N", help="choices by chance that are averaged (3)")
    add("--steps", type=int, default=600, metavar="N", help="student steps of each training (600)")
    add("--folds", type=int, default=5, metavar="N", help="how many of the five (5)")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="trainings at a time (2)")
    add("--config", default="configs/demo.toml", metavar="TOML", help="what all share (configs/demo.toml)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings for all of them")
    return parser


class Loop:
    """Packs what a fold has labels for, and says which training that makes."""

    def __init__(self, question: Question) -> None:
        self._ask = question
        self._labelled = read_labelled(question.source)
        heaps = deal(len(self._labelled))[: question.folds]
        self._pictures = [
            deal_out(len(self._labelled), heap, question.labels, fold) for fold, heap in enumerate(heaps)
        ]
        learnt, held_out = split_videos(question.source / "videos")
        self._data = DataSet(
            question.source.resolve().name,
            amounts=(FEW, SUGGESTED, *question.chances),
            folds=tuple(Fold({}, "", "") for _ in heaps),
            steps=question.steps,
            repeats=len(heaps),
            settings=SETTINGS,
            video=self._pack("video-held-out", held_out),
        )
        self._unlabelled = self._pack("video", learnt)

    def first_cells(self) -> list[Cell]:
        """Each fold's training with few labels."""
        return [self._cell(fold, FEW, pictures.few) for fold, pictures in enumerate(self._pictures)]

    def further_cells(self) -> list[Cell]:
        """Each fold's trainings with twice as many; the first ones have been trained."""
        cells = []
        for fold, pictures in enumerate(self._pictures):
            named = json.loads(self._kept(self._cell(fold, FEW, pictures.few)).read_text())
            by_name = {Path(self._labelled[place].path).name: place for place in pictures.others}
            suggested = [by_name[name] for name in named]
            cells += [self._cell(fold, SUGGESTED, [*pictures.few, *suggested])]
            for number, name in enumerate(self._ask.chances):
                chance = draw(pictures.others, self._ask.labels, fold + APART * number)
                cells += [self._cell(fold, name, [*pictures.few, *chance])]
        return cells

    def keep_suggestions(self, cell: Cell, run: Path) -> None:
        """What the detector of a first training wants to have labelled: names of pictures, beside its result."""
        from tsal_dist.data.shard_set import open_shards
        from tsal_dist.inference.suggestion import suggest
        from tsal_dist.inference.trained import load_trained, pick_device
        from tsal_dist.pack.face import Entry, Face
        from tsal_dist.run_dir import write_whole

        others = [self._labelled[place] for place in self._pictures[cell.repeat].others]
        blank = [Entry(one.path, one.frame, Face()) for one in others]
        shards = open_shards(
            [
                cell.labelled,
                self._pack(name_shards(cell.repeat, "others", self._pictures[cell.repeat].others), blank),
            ]
        )
        found = suggest(load_trained(run, "student", "last"), shards, self._ask.labels, pick_device())
        names = [Path(one.guess.video).name for one in found]
        write_whole(self._kept(cell), json.dumps(names, indent=1).encode())

    def _kept(self, cell: Cell) -> Path:
        return self._ask.folder / f"{cell.name}.suggested.json"

    def _cell(self, fold: int, amount: str, places: Sequence[int]) -> Cell:
        test = [self._labelled[place] for place in self._pictures[fold].test]
        learnt = [self._labelled[place] for place in sorted(places)]
        here = Fold(
            {amount: self._pack(name_shards(fold, amount, places), learnt)},
            self._unlabelled,
            self._pack(f"fold-{fold}-test", test),
        )
        folds = tuple(here if number == fold else other for number, other in enumerate(self._data.folds))
        ask, data = self._ask, replace(self._data, folds=folds)
        return build_cell(data, amount, ask.method, Variant(), fold, ask.steps, ask.config, ask.overrides)

    def _pack(self, name: str, entries: "Sequence[Entry]") -> str:
        from tsal_dist.pack.packing_plan import PackOptions

        return pack_entries(
            entries, self._ask.folder / "data" / name, PackOptions("shards", box="full"), self._ask.source
        )


def name_shards(fold: int, amount: str, places: Sequence[int]) -> str:
    """Other pictures make other shards, side by side: which are suggested depends on what was trained."""
    digest = hashlib.sha256(repr(sorted(places)).encode()).hexdigest()[:8]
    return f"fold-{fold}-{amount.replace(' ', '-')}-{digest}"


def deal_out(count: int, test: Sequence[int], labels: int, fold: int) -> Pictures:
    """A fold's pictures; the first labels are those that tools.bench.accuracy would take."""
    rest = [place for place in range(count) if place not in test]
    few = draw(rest, labels, fold)
    others = [place for place in rest if place not in few]
    if len(others) <= labels:
        raise ConfigError(
            f"--labels is {labels}; of {count} pictures a fold has {len(others)} others to choose from."
        )
    return Pictures(test, few, others)


def train_all(
    cells: Sequence[Cell], ask: Question, look: Callable[[Cell, Path], None] | None = None
) -> dict[tuple[int, str], Result]:
    """What each came to by fold and amount, trained where it is not there yet."""
    from rich.console import Console

    say = Console(stderr=True, highlight=False, soft_wrap=True).print
    found = {(cell.repeat, cell.amount): read_result(ask.folder, cell) for cell in cells}
    results = {key: result for key, result in found.items() if result is not None}

    def train(cell: Cell) -> Result:
        return train_cell(cell, ask.folder, (lambda run: look(cell, run)) if look else None)

    def done(cell: Cell, result: Result, left_s: float) -> None:
        results[cell.repeat, cell.amount] = result
        say(f"fold {cell.repeat}, {cell.amount}: {100 * result.test:.2f} %; {time_in_words(left_s)} left")

    def failed(cell: Cell, error: TsalError) -> None:
        raise error

    missing = [cell for cell in cells if (cell.repeat, cell.amount) not in results]
    run_cells(missing, train, ask.jobs, Clock(ask.jobs), done, failed)
    return results


def write_table(ask: Question, results: dict[tuple[int, str], Result]) -> list[str]:
    """Mean errors, and both ways of choosing side by side in each fold."""
    folds = sorted({fold for fold, _ in results})

    def errors(amount: str) -> list[float]:
        return [100 * results[fold, amount].test for fold in folds]

    by_draw = [errors(name) for name in ask.chances]
    chance = [sum(draws) / len(draws) for draws in zip(*by_draw, strict=True)]
    apart = [here - there for here, there in zip(errors(SUGGESTED), chance, strict=True)]
    lines = ["| labels | error, % |", "|---|---:|"]
    rows = {f"{ask.labels}": errors(FEW), f"{ask.labels} + {ask.labels} suggested": errors(SUGGESTED), f"{ask.labels} + {ask.labels} by chance": chance}  # fmt: skip
    lines += [f"| {title} | {_say(Mean.of(values), '.2f')} |" for title, values in rows.items()]
    better = sum(value < 0 for value in apart)
    lines += ["", f"Suggested against by chance, paired: {_say(Mean.of(apart), '+.2f')}; better in {better} of {len(folds)} folds."]  # fmt: skip
    if ask.draws > 1:
        spread = [statistics.stdev(draws) for draws in zip(*by_draw, strict=True)]
        lines += [
            f"By chance: {ask.draws} draws in each fold, which differ by ± {statistics.fmean(spread):.2f}."
        ]
    return lines


def _say(mean: Mean, form: str) -> str:
    return f"{mean.value:{form}} ± {mean.error:.2f}"


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
