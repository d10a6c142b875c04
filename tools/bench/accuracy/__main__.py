"""What unlabelled video is worth: every method beside labels alone, on synthetic faces, an animal, any shards.

    python -m tools.bench.accuracy --cells runs/accuracy --jobs 2
    python -m tools.bench.accuracy --cells runs/accuracy --mouse ../mirror-mouse --jobs 2 --time
    python -m tools.bench.accuracy --cells runs/accuracy --only-shards \\
        --shards 'faces labelled=shards/few/train,shards/all/train unlabelled=shards/all/train test=shards/val'
    python -m tools.bench.accuracy --cells runs/accuracy --methods tsal --variant "no track: method.use=['heatmap','center']"
    python -m tools.bench.accuracy --quick

A cell is one training (inline, one thread, a process of its own) of one method on one amount of labels, for equally
many student steps, measured after its last step. What it came to is a file in --cells: a call trains what is missing,
goes on with what was interrupted, and prints the table of what it was asked for. The table of what is there already
is kept in CELLS/table.md after each cell; --table prints it and trains nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tools.bench.accuracy.cells import Cell, Result, Variant, list_cells, read_result, same_time_cells
from tools.bench.accuracy.data_set import DataSet
from tools.bench.accuracy.methods import BASELINE, choose_methods
from tools.bench.accuracy.own import FORM, parse_own
from tools.bench.accuracy.page import write_page
from tools.bench.accuracy.schedule import Clock, run_cells
from tools.bench.accuracy.synthetic import Size
from tsal_dist.cli import run_entry
from tsal_dist.clock import time_in_words
from tsal_dist.errors import ConfigError, TsalError

QUICK = Size(videos=12, frames=8, size_px=96, steps=60, repeats=1)
QUICK_SETTINGS = ("model.crop_px=64", "train.optim.warmup_steps=10")
ANIMAL_STEPS, ANIMAL_REPEATS = 600, 5


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--cells",
        type=Path,
        default=Path("runs/accuracy"),
        metavar="DIR",
        help="what is kept (runs/accuracy)",
    )
    add(
        "--methods", nargs="+", metavar="NAME", help="beside labels alone (default: all that the project has)"
    )
    add("--synthetic", nargs="+", type=float, default=[0.01, 0.05, 0.2, 1.0], metavar="SHARE",
        help="shares of labelled videos among the synthetic ones (0.01 0.05 0.2 1)")  # fmt: skip
    add("--only-shards", action="store_true", help="no synthetic faces")
    add("--mouse", type=Path, metavar="DIR", help="an animal: CollectedData.csv, labeled-data/, videos/*.mp4")
    add(
        "--mouse-labels", nargs="+", type=int, default=[10, 25, 72], metavar="N", help="its labels (10 25 72)"
    )
    add("--shards", action="append", default=[], metavar="'NAME ...'", help=f"'{FORM}'; repeatable")
    add("--repeats", type=int, metavar="N", help="trainings of each, by seed and fold (3; of an animal 5)")
    add("--steps", type=int, metavar="N", help="student steps (500; of an animal 600)")
    add("--time", action="store_true", help="labels alone once more, with the time of the slowest method")
    add("--variant", action="append", default=[], metavar="'NAME: key=value ...'",
        help="every method but labels alone with these settings too; repeatable")  # fmt: skip
    add("--config", default="configs/demo.toml", metavar="TOML", help="what all share (configs/demo.toml)")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="trainings at a time (2)")
    add("--table", action="store_true", help="train nothing, print what is there")
    add("--quick", action="store_true", help="does it run? Minutes; its numbers say nothing")
    add("overrides", nargs="*", metavar="section.key=value", help="settings for all of them")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_intermixed_args(argv)
    if min(args.jobs, args.repeats or 1, args.steps or 1) < 1:
        raise ConfigError("--jobs, --repeats and --steps must be at least 1.")
    methods = choose_methods(args.methods)
    variants = [Variant(), *(parse_variant(text) for text in args.variant)]
    if args.quick:
        args.cells = args.cells / "quick"
    sets = make_sets(args)
    cells = [
        cell for data in sets for cell in list_cells(data, methods, variants, args.config, args.overrides)
    ]
    if args.quick:
        cells = methods_on_few(cells, sets)
    bench = Bench(args.cells, sets, args.jobs)
    failures = 0 if args.table else bench.train(cells)
    if args.table:
        bench.read(cells)
    if args.time:
        more = [
            cell
            for data in sets
            for cell in same_time_cells(data, cells, bench.results, args.config, args.overrides)
        ]
        cells += more
        if args.table:
            bench.read(more)
        else:
            failures += bench.train(more, cells)
    print(write_page(sets, cells, bench.results))
    return 1 if failures else 0


def methods_on_few(cells: Sequence[Cell], sets: Sequence[DataSet]) -> list[Cell]:
    """Only labels alone at every amount; methods at the smallest."""
    fewest = {data.name: data.amounts[0] for data in sets}
    return [cell for cell in cells if cell.method == BASELINE or cell.amount == fewest[cell.data]]


class Bench:
    """The cells of one folder: read where they are there, trained where not."""

    def __init__(self, folder: Path, sets: Sequence[DataSet], jobs: int) -> None:
        from rich.console import Console

        self._folder, self._sets, self._jobs = folder, sets, jobs
        self._clock = Clock(jobs)
        self._say = Console(stderr=True, highlight=False, soft_wrap=True).print
        self.results: dict[str, Result] = {}

    def read(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take up what is there; the cells that are not."""
        missing = []
        for cell in cells:
            result = read_result(self._folder, cell)
            if result is None:
                missing.append(cell)
                continue
            self.results[cell.name] = result
            if result.seconds:
                self._clock.note(cell, result.seconds)
        return missing

    def train(self, cells: Sequence[Cell], shown: Sequence[Cell] = ()) -> int:
        """Train what is missing; how many failed. `shown` are the cells of the kept table, where they are more."""
        from tools.bench.accuracy.train_cell import train_cell

        missing = self.read(cells)
        if missing:
            self._say(
                f"{len(cells) - len(missing)} cells are there, {len(missing)} to train; "
                f"{time_in_words(self._clock.remaining_s(missing))} left"
            )
        failures: list[Cell] = []

        def done(cell: Cell, result: Result, left_s: float) -> None:
            self.results[cell.name] = result
            self._say(
                f"{len(self.results)}/{len(shown or cells)} {cell.data}, {cell.amount} labels, {cell.method}, "
                f"repetition {cell.repeat}: {100 * result.test:.2f} %; {time_in_words(left_s)} left"
            )
            self._keep_page(shown or cells)

        def failed(cell: Cell, error: TsalError) -> None:
            failures.append(cell)
            self._say(f"{cell.data}, {cell.amount} labels, {cell.method}, repetition {cell.repeat}: {error}")

        train = partial(train_cell, folder=self._folder)
        run_cells(missing, train, self._jobs, self._clock, done, failed)
        return len(failures)

    def _keep_page(self, cells: Sequence[Cell]) -> None:
        from tsal_dist.run_dir import write_whole

        write_whole(self._folder / "table.md", write_page(self._sets, cells, self.results).encode())


def make_sets(args: argparse.Namespace) -> list[DataSet]:
    """Everything that was asked for, packed."""
    sets = []
    size = QUICK if args.quick else Size()
    size = replace(size, steps=args.steps or size.steps, repeats=args.repeats or size.repeats)
    data = args.cells / "data"
    if not args.only_shards:
        from tools.bench.accuracy.synthetic import make_synthetic

        shares = [0.2, 1.0] if args.quick else args.synthetic
        sets.append(make_synthetic(data / "synthetic", shares, size, QUICK_SETTINGS if args.quick else ()))
    if args.mouse:
        from tools.bench.accuracy.animal import make_animal

        steps, repeats = (QUICK.steps, 1) if args.quick else (ANIMAL_STEPS, ANIMAL_REPEATS)
        amounts = [10, 72] if args.quick else args.mouse_labels
        animal = make_animal(
            args.mouse, data / "animal", amounts, args.steps or steps, args.repeats or repeats
        )
        if args.quick:
            animal = replace(animal, settings=(*animal.settings, "model.detector=lite", *QUICK_SETTINGS))
        sets.append(animal)
    for text in args.shards:
        sets.append(parse_own(text, size.steps, size.repeats))
    if not sets:
        raise ConfigError("There is nothing to train on: --only-shards needs --mouse or --shards.")
    return sets


def parse_variant(text: str) -> Variant:
    name, colon, settings = text.partition(":")
    if not colon or not name.strip() or not settings.split():
        raise ConfigError(f"--variant is {text!r}; it must be 'name: section.key=value ...'.")
    return Variant(name.strip(), tuple(settings.split()))


if __name__ == "__main__":
    sys.exit(run_entry(main))
