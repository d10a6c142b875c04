"""What unlabelled video is worth: every method at several shares of labels, on synthetic faces, over seeds.

    python -m tools.bench.accuracy
    python -m tools.bench.accuracy --shares 0.01 0.05 0.2 1 --seeds 3 --steps 3000 --jobs 2
    python -m tools.bench.accuracy --recipes tsal --variant "no track: method.use=['heatmap','center']"

A cell is one training (inline, one thread, a process of its own) of one recipe, share and seed, for equally many
student steps, measured on held-out people after its last step. All shares are packed from the same videos; only
how many of them keep their labels differs. A cell that is finished is read back, one that was interrupted goes on.

Prints a table of NME and jitter, mean and standard error over the seeds; the share of the gap between `supervised`
at the smallest and at the largest share that a method closes; and one line of JSON.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError, TrainingError

RECIPES = ("supervised", "mean_teacher", "tsal")
BASELINE = "supervised"


@dataclass(frozen=True)
class Cell:
    """One training."""

    method: str
    """The recipe, and the variant's name where it is one."""
    share: float
    seed: int
    words: tuple[str, ...]
    """Everything that `train` is told."""

    @property
    def name(self) -> str:
        return f"{self.method.replace(' ', '-')}_{self.share:g}_{self.seed}"


@dataclass(frozen=True)
class Row:
    """One method at one share, over the seeds; standard errors are not numbers for one seed."""

    method: str
    share: float
    seeds: int
    nme: float
    nme_error: float
    jitter: float
    jitter_error: float
    teacher_nme: float
    gap_closed: float


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="methods (all)")
    add("--shares", nargs="+", type=float, default=[0.05, 1.0], metavar="S", help="labelled shares (0.05 1)")
    add("--labelled-by", choices=["frame", "video"], default="video", help="what is drawn (video)")
    add("--seeds", type=int, default=3, metavar="N", help="trainings of each (3)")
    add("--steps", type=int, default=500, metavar="N", help="student steps of each (500)")
    add("--config", default="configs/demo.toml", metavar="TOML", help="what they share (configs/demo.toml)")
    add(
        "--variant",
        action="append",
        default=[],
        metavar="'NAME: key=value ...'",
        help="train every recipe but the baseline with these settings too; repeatable",
    )
    add("--folder", type=Path, default=Path("runs/bench-accuracy"), metavar="DIR", help="where it all lives")
    add("--videos", type=int, default=96, metavar="N", help="synthetic videos, a fifth held out (96)")
    add("--frames", type=int, default=16, metavar="T", help="frames of each (16)")
    add("--size", type=int, default=160, metavar="PX", help="side of a frame (160)")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time (1)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings for all of them")
    return parser


def main(argv: list[str]) -> int:
    """Make the data, train what is missing, print."""
    args = build_parser().parse_intermixed_args(argv)
    if min(args.seeds, args.steps, args.jobs) < 1:
        raise ConfigError("--seeds, --steps and --jobs must be at least 1.")
    from rich.console import Console

    from tools.bench.paired_benchmark import describe_system

    progress = Console(stderr=True, highlight=False)
    data = make_data(args)
    cells = list_cells(args, data)
    results: dict[str, dict[str, float]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        for cell, result in zip(
            cells, pool.map(lambda cell: run_cell(cell, args.folder), cells), strict=True
        ):
            results[cell.name] = result
            progress.print(f"{len(results)}/{len(cells)} {cell.name}: NME {100 * result['nme']:.2f} %")
    rows = summarise(cells, results)
    print_table(rows, args)
    settings = {
        name: getattr(args, name) for name in ("steps", "seeds", "videos", "frames", "size", "config")
    }
    settings |= {"labelled_by": args.labelled_by, "overrides": args.overrides}
    record = {
        "bench": "accuracy",
        "results": [_finite(asdict(row)) for row in rows],
        "settings": settings,
        "system": describe_system(),
    }
    print(json.dumps(record, allow_nan=False))
    return 0


def make_data(args: argparse.Namespace) -> Path:
    """Render and pack once; what is there already is kept, and refused where it is something else."""
    from tsal_dist.pack.execute import pack
    from tsal_dist.pack.gather import gather_inputs
    from tsal_dist.pack.packing_plan import PackOptions, build_plan
    from tsal_dist.pack.video_facts import probe
    from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

    data: Path = args.folder / "data"
    spec = DatasetSpec(args.videos, args.frames, args.size, seed=1, labelled=1.0)
    made = data / "raw" / "synthetic.json"
    if not made.exists():
        write_dataset(data / "raw", spec, clean=True)
    asked = asdict(spec)
    found = {name: value for name, value in json.loads(made.read_text()).items() if name in asked}
    if found != asked:
        raise ConfigError(f"{data} holds other videos ({found}). Ask for the same, or give another --folder.")

    def pack_list(name: str, out: Path, options: PackOptions, apart_from: Sequence[str] = ()) -> None:
        inputs = gather_inputs([data / "raw" / name])
        plan = build_plan(inputs, [probe(one) for one in inputs], options)
        pack(plan, str(out / options.split), apart_from=apart_from)

    pack_list("test.lst", data / "held-out", PackOptions("val"))
    for share in args.shares:
        options = PackOptions("train", labelled=share, labelled_by=args.labelled_by)
        pack_list("train.lst", share_folder(data, share), options, [str(data / "held-out" / "val")])
    return data


def share_folder(data: Path, share: float) -> Path:
    """Each share has a folder of its own: side by side they would be refused as overlapping splits."""
    return data / f"share-{share:g}"


def list_cells(args: argparse.Namespace, data: Path) -> list[Cell]:
    """Every training, the first seed of all methods before the second."""
    variants: list[tuple[str, list[str]]] = [("", [])]
    variants += [_parse_variant(text) for text in args.variant]
    cells = []
    for seed in range(args.seeds):
        for share in args.shares:
            train = str(share_folder(data, share) / "train")
            for recipe in args.recipes:
                for name, settings in variants if recipe != BASELINE else variants[:1]:
                    words = [
                        f"--config={args.config}",
                        f"train.steps={args.steps}",
                        *args.overrides,
                        *settings,
                        f"method.name={recipe}",
                        f"train.seed={seed}",
                        "runtime.topology=inline",
                        f"data.labelled={train}",
                        f"data.unlabelled={train}",
                        f"data.validation={data / 'held-out' / 'val'}",
                    ]
                    cells.append(Cell(f"{recipe} {name}".strip(), share, seed, tuple(words)))
    return cells


def run_cell(cell: Cell, folder: Path) -> dict[str, float]:
    """Train and measure, or read back what an earlier call has measured with the same words."""
    from tsal_dist.run_dir import write_whole

    run, kept = folder / cell.name, folder / f"{cell.name}.json"
    if kept.exists():
        record = json.loads(kept.read_text())
        if record["words"] != list(cell.words):
            raise ConfigError(
                f"{kept} was measured with other settings: {' '.join(record['words'])}. Ask for the same, remove it "
                f"and its run, or give another --folder."
            )
        return dict(record["result"])
    _call(
        ["-m", "tsal_dist.train", "--resume-or-start", *cell.words, f"run.dir={run}"], f"training {cell.name}"
    )
    numbers = run / "bench.json"
    _call(
        ["-m", "tsal_dist.evaluate", "--run", str(run), "--step", "last", "--json", str(numbers)],
        f"measuring {cell.name}",
    )
    student, *teacher = json.loads(numbers.read_text())["models"].values()
    result = {"nme": student["nme"], "jitter": student["jitter"]}
    if teacher:
        result["teacher_nme"] = teacher[0]["nme"]
    write_whole(kept, json.dumps({"words": cell.words, "result": result}).encode())
    return result


def summarise(cells: Sequence[Cell], results: dict[str, dict[str, float]]) -> list[Row]:
    """A row per method and share, in the order in which they were asked for."""
    values: dict[tuple[str, float], list[dict[str, float]]] = {}
    for cell in cells:
        values.setdefault((cell.method, cell.share), []).append(results[cell.name])
    nme = {key: mean_and_error([each["nme"] for each in found])[0] for key, found in values.items()}
    shares = [share for _, share in values]
    low, high = nme.get((BASELINE, min(shares)), math.nan), nme.get((BASELINE, max(shares)), math.nan)
    rows = []
    for (method, share), found in values.items():
        teachers = [each["teacher_nme"] for each in found if "teacher_nme" in each]
        closes = share == min(shares) and method != BASELINE and low > high
        rows.append(
            Row(
                method,
                share,
                len(found),
                *mean_and_error([each["nme"] for each in found]),
                *mean_and_error([each["jitter"] for each in found]),
                mean_and_error(teachers)[0] if teachers else math.nan,
                (low - nme[method, share]) / (low - high) if closes else math.nan,
            )
        )
    return rows


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its standard error: the sample's deviation over the root of its size."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def print_table(rows: Sequence[Row], args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{args.seeds} seeds, {args.steps} student steps each, held-out people")
    for name in ("method", "labels", "NME %", "jitter %", "teacher NME %", "gap closed"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        table.add_row(
            row.method,
            f"{100 * row.share:g} %",
            _with_error(row.nme, row.nme_error),
            _with_error(row.jitter, row.jitter_error),
            _with_error(row.teacher_nme, math.nan),
            "" if math.isnan(row.gap_closed) else f"{100 * row.gap_closed:.0f} %",
        )
    Console(width=110).print(table)


def _with_error(mean: float, error: float) -> str:
    if math.isnan(mean):
        return ""
    return f"{100 * mean:.2f}" + ("" if math.isnan(error) else f" ± {100 * error:.2f}")


def _finite(numbers: dict[str, object]) -> dict[str, object]:
    """JSON has no word for what is not a number."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def _parse_variant(text: str) -> tuple[str, list[str]]:
    name, colon, settings = text.partition(":")
    if not colon or not name.strip() or not settings.split():
        raise ConfigError(f"--variant is {text!r}; it must be 'name: section.key=value ...'.")
    return name.strip(), settings.split()


def _call(argv: list[str], what: str) -> None:
    """Run our own command quietly, on one thread; its last words if it fails."""
    from tsal_dist.dist.environment import child_environment

    done = subprocess.run(
        [sys.executable, *argv],
        env=child_environment({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise TrainingError(f"{what} ended with code {done.returncode}: {last}")


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
