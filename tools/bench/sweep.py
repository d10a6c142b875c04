"""What a trial of a sweep costs over the same run without one.

    python -m tools.bench.sweep
    python -m tools.bench.sweep --quick

trial    a sweep of one trial, Ray started and stopped, against launch.local on the same config: what is paid once
steps    the same, by the student's own clock: steps per second while it trains, Ray's processes beside it

Both train the synthetic demo inline in one process, on data that is rendered first. Prints a line for each and one
of JSON, where `overhead_s` is how much longer the sweep took from its command to its end.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tsal_dist.cli import run_entry

ROOT = Path(__file__).parents[2]
AIM_TRIAL, AIM_STEPS = 0.5, 0.9
SWEEP = """
[sweep]
dir = "{folder}"
trials = 1
[space]
train.optim.lr = {{ choice = [2e-3] }}
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--steps", type=int, default=60, metavar="N", help="steps of a run (default: 60)")
    add("--rounds", type=int, default=3, metavar="N", help="rounds (default: 3)")
    add("--quick", action="store_true", help="one short round: does it run?")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    from tools.bench.paired_benchmark import compare_in_turns, json_line

    if args.quick:
        args.steps, args.rounds = 12, 1
    folder = Path(tempfile.mkdtemp(prefix="bench-sweep-"))
    try:
        pair = _Pair(folder, args.steps)
        results = [compare_in_turns("trial", AIM_TRIAL, pair.sweep, pair.bare, args.rounds, pair.tidy)]
        # The first two were the warm-up.
        seconds, rates = pair.seconds[2:], pair.rates[2:]
        steps = _compare_steps(rates)
        overhead_s = statistics.median(s for kind, s in seconds if kind == "sweep") - statistics.median(
            s for kind, s in seconds if kind == "bare"
        )
        print(results[0].line())
        print(
            f"steps: {steps:.2f} x the baseline, {'meets' if steps >= AIM_STEPS else 'MISSES'} {AIM_STEPS:g}"
        )
        print(f"overhead: {overhead_s:.1f} s for a sweep of one trial")
        settings = {"steps": args.steps, "rounds": args.rounds, "quick": args.quick}
        print(json_line(results, **settings, steps_ratio=round(steps, 3), overhead_s=round(overhead_s, 2)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _compare_steps(rates: Sequence[tuple[str, float]]) -> float:
    return statistics.median(rate for kind, rate in rates if kind == "sweep") / statistics.median(
        rate for kind, rate in rates if kind == "bare"
    )


class _Pair:
    """The same run, as the one trial of a sweep and by the launcher of this machine."""

    def __init__(self, folder: Path, steps: int) -> None:
        from tools.bench.made_faces import make_faces
        from tsal_dist.synthetic.dataset import DatasetSpec

        self.seconds: list[tuple[str, float]] = []
        self.rates: list[tuple[str, float]] = []
        self._folder, self._steps = folder, steps
        self._sweep_file = folder / "one.toml"
        self._sweep_file.write_text(SWEEP.format(folder=folder / "sweep"))
        self._words = [
            *make_faces(folder, DatasetSpec(videos=12, frames=8, size_px=96)),
            f"train.steps={steps}",
            f"train.burn_in_steps={steps // 3}",
            f"runtime.log.evaluate_every={steps}",
            "runtime.log.every=4",
            "runtime.topology=inline",
        ]

    def sweep(self) -> int:
        self._run("sweep", "launch.sweep", "--sweep", str(self._sweep_file))
        return self._steps

    def bare(self) -> int:
        self._run("bare", "launch.local", f"run.dir={self._folder}/bare", "train.optim.lr=2e-3")
        return self._steps

    def tidy(self) -> None:
        for name in ("sweep", "bare"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _run(self, kind: str, module: str, *words: str) -> None:
        begun = time.perf_counter()
        self._call("-m", module, "--config", "configs/demo.toml", *words, *self._words)
        self.seconds.append((kind, time.perf_counter() - begun))
        (path,) = (self._folder / kind).rglob("metrics/student.jsonl")
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        speeds = [line["speed/steps_per_s"] for line in lines if line.get("speed/steps_per_s")]
        self.rates.append((kind, statistics.median(speeds)))

    def _call(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(run_entry(main))
