"""How long a person waits for a command that only talks.

    python -m tools.bench.start
    python -m tools.bench.start --quick

Every command's `--help` against `python -c pass` in turns: the seconds that it takes more. The aim is half a second,
which nobody notices, and none may import torch. `train --dry-run` is not among them: what a label weighs is the method's
to say, whose file may be anybody's, and all of them compute with torch.

Prints a line for each and one of JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tsal_dist.cli import run_entry

ROOT = Path(__file__).parents[2]
AIM_S = 0.5
MODULES = ("tsal_dist.train", "tsal_dist.evaluate", "tsal_dist.predict", "launch.local", "launch.submit")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="calls of each (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one call of each: does it run?")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    from tools.bench.paired_benchmark import describe_system

    results = []
    for name, words in commands().items():
        pairs = [(seconds(words), seconds(("-c", "pass"))) for _ in range(1 if args.quick else args.rounds)]
        extra_s = statistics.median(ours - nothing for ours, nothing in pairs)
        verdict = "meets" if extra_s < AIM_S else "MISSES"
        torch = imports_torch(words)
        print(
            f"{name}: {extra_s:.2f} s more than nothing, {verdict} {AIM_S} s{', imports torch' if torch else ''}"
        )
        results.append({"name": name, "aim_s": AIM_S, "extra_s": extra_s, "imports_torch": torch})
    print(json.dumps({"bench": "start", "results": results, "system": describe_system()}))
    return 0


def commands() -> dict[str, tuple[str, ...]]:
    """By name, the words after `python`."""
    tools = sorted(f"tools.{path.stem}" for path in (ROOT / "tools").glob("*.py"))
    return {f"{name} --help": ("-m", name, "--help") for name in (*MODULES, *tools)}


def seconds(words: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def imports_torch(words: tuple[str, ...]) -> bool:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return any(line.rpartition("|")[2].strip() == "torch" for line in done.stderr.splitlines())


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
