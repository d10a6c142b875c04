"""How many processes should teach? Measures what learning and labelling cost here, and says what a split would gain.

    tsal plan --config configs/demo.toml
    tsal plan --config configs/wflw.toml --procs 8 --run runs/wflw --cv .3 --slow 2
    tsal plan --config configs/wflw.toml --procs 64 --costs 12 30
    tsal plan --config configs/gpu8.toml --rates rates.json

Runs the config synchronously for some seconds, on as many processes as are planned for or as this machine has devices
for and then on one, and divides each step into the teacher's part and the student's. Then it goes through every split of the processes,
for labels that are trained on 1, 2, 4 ... times. Where no split gains 5 % it says so: stay synchronous
(runtime.topology=inline under torchrun). The ideal gain is that of a split into any fractions: many processes come close.

The keep rate is the share of labels that survive admission: of a run's log (--run), assumed (--keep), or 1.

--rates measures something else, in half a minute: what reading, tracking, learning and labelling cost per frame on one
core and one device. `python -m tsal_dist.train --dry-run --rates FILE` then says whether a config feeds its devices.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    from tsal_dist.config import RunConfig
    from tsal_dist.planning.split import Costs, Forecast, Luck

REUSE = (1, 2, 4, 8)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", action="append", default=[], metavar="TOML", help="a config file; repeatable")
    add("--procs", type=int, metavar="N", help="processes to divide (one per GPU or core of this machine)")
    add(
        "--costs",
        type=float,
        nargs=2,
        metavar=("STUDENT_MS", "TEACHER_MS"),
        help="measure nothing: milliseconds per clip, as measured elsewhere",
    )
    add("--rates", type=Path, metavar="FILE", help="measure what a frame costs, write it down, and end")
    add("--seconds", type=float, default=10.0, metavar="S", help="how long to measure (10)")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--run", type=Path, metavar="RUN", help="take the keep rate from this run's metrics")
    keep.add_argument("--keep", type=float, metavar="SHARE", help="assume this keep rate")
    add("--cv", type=float, default=0.0, help="how much the time of a piece of work varies: 0.3 is a lot (0)")
    add("--slow", type=float, default=1.0, help="the last process takes so many times longer (1)")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("overrides", nargs="*", metavar="section.key=value", help="settings that win over the files")
    return parser


def main(argv: list[str]) -> int:
    """Measure, go through the splits, print."""
    args = build_parser().parse_intermixed_args(argv)
    if args.cv < 0 or args.slow < 1:
        raise ConfigError(f"--cv must be at least 0 and --slow at least 1, not {args.cv} and {args.slow}.")
    from tsal_dist.config import load_config
    from tsal_dist.planning.split import Luck, best_split
    from tsal_dist.runs.follow_shards import follow_shards

    config = follow_shards(load_config(args.config, args.overrides))
    if args.rates:
        return write_rates(config, args.rates, args.seconds / 4)
    if not config.has_teacher:
        raise ConfigError(
            f"method.name={config.method.name} has no teacher here, so there is nothing to split. Plan for tsal or "
            f"mean_teacher."
        )
    procs = args.procs or count_devices()
    keep, source = find_keep_rate(args)
    costs = find_costs(args, config, procs)
    queue = config.runtime.queue
    own = queue.max_reuse if queue.on_starvation == "reuse" else 1
    luck = Luck(args.cv, args.slow) if args.cv or args.slow > 1 else None
    options = [best_split(costs, procs, reuse, keep, luck) for reuse in sorted({*REUSE, own})]
    chosen = next(option for option in options if option.reuse == own)
    if args.json:
        print(json.dumps(_record(costs, procs, keep, luck, options, chosen)))
        return 0
    lone = costs.lone
    alone = f" ({1e3 * lone.student_s:.1f} and {1e3 * lone.teacher_s:.1f} alone in a role)" if lone else ""
    print(
        f"one clip: {1e3 * costs.student_s:.1f} ms to learn from, {1e3 * costs.teacher_s:.1f} ms to label{alone}; "
        f"keep rate {keep:.2f} ({source})"
    )
    print_table(options, costs, procs, keep, luck)
    print(give_advice(chosen, config))
    return 0


def write_rates(config: "RunConfig", file: Path, seconds: float) -> int:
    """Measure each of the four rates for so long."""
    from tsal_dist.data.shard_set import open_cached
    from tsal_dist.engine.numerics import set_numerics
    from tsal_dist.inference.trained import pick_device
    from tsal_dist.planning.rates import measure_rates
    from tsal_dist.run_dir import write_whole

    set_numerics(config.runtime.numerics)
    shards = open_cached(config.data.unlabelled or config.data.labelled, config.data)
    rates = measure_rates(config, shards, pick_device(), seconds)
    write_whole(file, json.dumps(rates.to_json(), indent=1).encode())
    print(
        f"{file}: on {rates.device} a frame takes {1e3 * rates.read_s:.2f} ms to read and {1e3 * rates.flow_s:.2f} ms to "
        f"track on one core, {1e3 * rates.learn_s:.2f} ms to learn from and {1e3 * rates.label_s:.2f} ms to label"
    )
    return 0


def count_devices() -> int:
    """How many processes this machine has a device for."""
    import torch

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))


def find_costs(args: argparse.Namespace, config: "RunConfig", procs: int) -> "Costs":
    """As told, or measured in a folder that is thrown away."""
    from tsal_dist.planning.split import Costs

    if args.costs:
        return Costs(args.costs[0] / 1e3, args.costs[1] / 1e3)
    from tsal_dist.planning.costs import measure_costs

    here = min(procs, count_devices())
    words = [*(f"--config={file}" for file in args.config), *args.overrides]
    sys.stderr.write(f"measuring {here} processes for {args.seconds:g} s ...\n")
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        return measure_costs(config, words, here, Path(folder) / "run", args.seconds)


def find_keep_rate(args: argparse.Namespace) -> tuple[float, str]:
    """The share, and where it is from."""
    if args.run:
        from tsal_dist.observe.sinks import read_metrics
        from tsal_dist.planning.costs import keep_rate
        from tsal_dist.run import load_run

        return keep_rate(read_metrics(load_run(args.run).dir.metrics("student"))), f"of {args.run}"
    return (1.0, "assumed: nothing is dropped") if args.keep is None else (args.keep, "assumed")


def give_advice(chosen: "Forecast", config: "RunConfig") -> str:
    """What to do with this config, in a sentence or two."""
    if not chosen.worthwhile:
        change = abs(chosen.gain - 1)
        how = f"would be {change:.0%} slower" if chosen.gain < 1 else f"would gain no more than {change:.0%}"
        return (
            f"Stay synchronous (torchrun ... runtime.topology=inline): the best split, {chosen.split.words()}, {how}. "
            f"A split pays with more reuse, a heavier teacher (method.views), unequal machines, or teachers on "
            f"devices that are there anyway."
        )
    views = config.method.settings.get("views", 1)
    return (
        f"Split: {chosen.split.words()} (runtime.topology=split runtime.teachers={chosen.split.teachers}), "
        f"{chosen.gain:.2f} x the synchronous run at {views} view{'s' if views > 1 else ''} and each label used up to "
        f"{chosen.reuse} times."
    )


def print_table(
    options: "Sequence[Forecast]", costs: "Costs", procs: int, keep: float, luck: "Luck | None"
) -> None:
    from rich.console import Console
    from rich.table import Table

    from tsal_dist.planning.split import ideal_gain

    how = f", times vary by {luck.cv:g}, the last process takes {luck.slow:g} x as long" if luck else ""
    table = Table(title=f"{procs} processes{how}", title_justify="left")
    columns = ["uses of a label", "best split", "clips/s", "gain", "students busy", "verdict"]
    for name in columns if luck else [*columns, "ideal gain"]:
        table.add_column(name, justify="left" if name in ("best split", "verdict") else "right")
    for option in options:
        cells = [str(option.reuse), option.split.words(), f"{option.clips_per_s:.1f}", f"{option.gain:.2f}"]
        cells += [f"{option.student_busy:.0%}", "split" if option.worthwhile else "stay synchronous"]
        table.add_row(*cells, *([] if luck else [f"{ideal_gain(costs, option.reuse, keep):.2f}"]))
    Console(width=120).print(table)


def _record(
    costs: "Costs",
    procs: int,
    keep: float,
    luck: "Luck | None",
    options: "Sequence[Forecast]",
    chosen: "Forecast",
) -> dict[str, object]:
    from tsal_dist.planning.system import describe_system

    return {
        "costs": asdict(costs),
        "procs": procs,
        "keep": keep,
        "luck": asdict(luck) if luck else None,
        "options": [asdict(option) | {"worthwhile": option.worthwhile} for option in options],
        "advice": asdict(chosen.split) if chosen.worthwhile else "synchronous",
        "system": describe_system(),
    }


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
