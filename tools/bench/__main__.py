"""The benchmarks of speed, one after the other, and the table of what came out.

    python -m tools.bench
    python -m tools.bench --quick
    python -m tools.bench --only queue loader --write docs/benchmarks.md

Each is a command of its own (`python -m tools.bench.<name>`) that measures ours and a plain baseline in turns; only ratios mean
something. What it printed last, a line of JSON, is kept in --folder. `--write` puts the table of all that is kept there
between the two marks in a page, so a part can be measured again without the rest.

`accuracy`, `boxes`, `labelling` and `size` are not among them: they measure how right detectors are and how large, and
keep or write down what they find by themselves. `accuracy` trains for hours.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.bench.asynchrony import AIM_PLAN, AIM_STALL
from tools.bench.paired_benchmark import system_in_words
from tools.bench.written_page import split_page, write_between
from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError, TrainingError

BENCHES = ("start", "loader", "queue", "shard", "step", "asynchrony", "sweep")
BEGIN, END = "<!-- measured: python -m tools.bench writes from here -->", "<!-- to here -->"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=BENCHES, default=list(BENCHES), help="which of them (default: all)")
    add("--quick", action="store_true", help="do they run? Their numbers are not kept")
    add("--write", type=Path, metavar="PAGE", help="write the table into this page")
    add("--folder", type=Path, default=Path("runs/bench"), metavar="DIR", help="what is kept (runs/bench)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.write and args.quick:
        raise ConfigError("--quick measures nothing worth writing down. Leave --write or --quick away.")
    if args.write:
        split_page(args.write, BEGIN, END)  # before an hour is spent
    from tsal_dist.run_dir import write_whole

    for name in args.only:
        print(f"\npython -m tools.bench.{name}", flush=True)
        started = time.monotonic()
        found = run_bench(name, args.quick)
        print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
        if not args.quick:
            args.folder.mkdir(parents=True, exist_ok=True)
            write_whole(args.folder / f"{name}.json", json.dumps(found, indent=1).encode())
    if args.write:
        write_between(args.write, BEGIN, END, "\n".join(format_table(args.folder)))
        print(f"\nwritten: {args.write}")
    return 0


def run_bench(name: str, quick: bool) -> dict[str, Any]:
    """What the bench printed last; everything else passes through to the screen."""
    words = [sys.executable, "-m", f"tools.bench.{name}", *(["--quick"] if quick else [])]
    last = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            if line.startswith("{"):
                last = line
            else:
                print(f"  {line.rstrip()}", flush=True)
    if process.returncode or not last:
        raise TrainingError(
            f"{' '.join(words[1:])} ended with code {process.returncode} and without numbers."
        )
    found: dict[str, Any] = json.loads(last)
    return found


def format_table(folder: Path) -> Iterator[str]:
    """Markdown, a row for each thing measured."""
    yield ""
    yield "| bench | row | ours / baseline | quartiles | aim | |"
    yield "|---|---|---:|---:|---:|---|"
    systems = {}
    for name in BENCHES:
        kept = folder / f"{name}.json"
        if not kept.exists():
            continue
        found = json.loads(kept.read_text())
        systems[name] = found["system"]
        for row in worst_of(found["results"]):
            yield _line(name, row["name"], *format_row(row))
        for row in found.get("plan", []):
            told = f"{row['predicted']:.2f} predicted, {row['measured']:.2f} measured"
            aim, good = f"± {100 * AIM_PLAN:g} %", abs(row["error"]) <= AIM_PLAN
            yield _line(name, f"plan: {row['name']}", told, "", aim, _verdict(good))
        for what, share in found.get("stall", {}).items():
            aim, good = f"≤ {100 * AIM_STALL:g} %", share <= AIM_STALL
            yield _line(name, f"stall, {what}", f"{share:.2%} of the time", "", aim, _verdict(good))
    yield ""
    for text in sorted({system_in_words(system) for system in systems.values()}):
        names = ", ".join(name for name, system in systems.items() if system_in_words(system) == text)
        yield f"Measured on {text}: {names}."


def worst_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows; of commands that only talk the slowest stands for all, unless one imports what it must not."""
    talk = [row for row in rows if "extra_s" in row]
    if not talk:
        return rows
    heavy = [row for row in talk if row["imports_torch"]]
    slowest = max(talk, key=lambda row: float(row["extra_s"]))
    return heavy or [slowest | {"name": f"slowest of {len(talk)}: {slowest['name']}"}]


def format_row(row: dict[str, Any]) -> list[str]:
    """Measure, spread, aim and verdict; commands that only talk have seconds instead of a ratio."""
    if "extra_s" in row:
        good = row["extra_s"] < row["aim_s"] and not row["imports_torch"]
        return [f"{row['extra_s']:.2f} s more", "", f"< {row['aim_s']:g} s", _verdict(good)]
    spread = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
    return [f"{row['ratio']:.2f}", spread, f"≥ {row['aim']:.3g}", _verdict(row["ratio"] >= row["aim"])]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(good: bool) -> str:
    return "" if good else "**missed**"


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
