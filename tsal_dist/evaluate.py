"""Measure a trained detector on labelled shards: a table, JSON for machines, pictures for people.

python -m tsal_dist.evaluate --run runs/demo --shards shards/demo-val
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import program, run_entry
from tsal_dist.errors import ConfigError
from tsal_dist.inference.decoding import add_decoding, read_decoding
from tsal_dist.json_object import if_finite
from tsal_dist.outputs import check_file, check_folder
from tsal_dist.run_dir import write_whole

if TYPE_CHECKING:
    from tsal_dist.config import RunConfig
    from tsal_dist.data.shard_set import ShardSet
    from tsal_dist.inference.decoding import Decoding
    from tsal_dist.inference.evaluation import Evaluation
    from tsal_dist.inference.trained import Trained

ONE_BY_ONE = "what is said of a landmark would be of two. Evaluate the runs one by one"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("evaluate"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run",
        required=True,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="folders of runs, such as runs/demo",
    )
    parser.add_argument(
        "--shards",
        nargs="+",
        action="extend",
        metavar="DIR",
        help="labelled shards (default: the first run's validation)",
    )
    parser.add_argument(
        "--role", choices=["student", "teacher", "both"], default="both", help="whose weights (both)"
    )
    parser.add_argument("--step", default="best", help="best by validation, last, or a step (best)")
    add_decoding(parser)
    parser.add_argument("--normalizer", help="what errors are divided by (the first run's data.normalizer)")
    parser.add_argument("--json", metavar="FILE", help="also write all numbers here")
    parser.add_argument(
        "--plots", metavar="DIR", help="also draw CED, per-landmark errors, worst and best frames"
    )
    return parser


def main(argv: list[str]) -> int:
    """Evaluate one or both roles of some runs on the same frames."""
    args = build_parser().parse_args(argv)
    if args.json:
        check_file("--json", args.json)
    if args.plots:
        check_folder("--plots", args.plots)

    from tsal_dist.config.load import override
    from tsal_dist.inference.evaluation import KEPT_WORST, build_evaluator
    from tsal_dist.inference.finding import check_views
    from tsal_dist.inference.held_out import find_named, open_of_run
    from tsal_dist.inference.trained import pick_device
    from tsal_dist.insight.lean import lean_in_words
    from tsal_dist.insight.measured import names_of
    from tsal_dist.run import load_run
    from tsal_dist.runs.labelled_points import learn_fitting_of
    from tsal_dist.runs.named_shards import open_named

    first = load_run(args.run[0]).config
    of_first = Path(args.run[0]), first
    urls = args.shards or find_named(*of_first, "validation")
    if not urls:
        raise ConfigError("The run has no data.validation. Name labelled shards with --shards.")
    shards = open_named("--shards", urls, first) if args.shards else open_of_run(*of_first, "validation")
    device, decoding = pick_device(), read_decoding(args)
    check_views(decoding.of(first.model))
    found: dict[str, Evaluation] = {}
    leans: dict[str, str] = {}
    normalizer = args.normalizer or first.data.normalizer
    configs = {run: override(load_run(run).config, f"data.normalizer={normalizer}") for run in args.run}
    _refuse_misfits(configs, shards, urls[0])
    names = names_of([Path(run) for run in configs])
    for (run, config), name in zip(configs.items(), names, strict=True):
        asked = decoding.of(config.model)
        if asked.companions:
            asked = replace(asked, fitting=learn_fitting_of(Path(run), config))
        evaluator = replace(build_evaluator(config, shards, device), decoding=asked)
        for trained in _load(run, args.role, args.step, config):
            trained.model.to(device)
            evaluation = evaluator.run(trained.model, keep=KEPT_WORST if args.plots else 0)
            whose = name + trained.name.removeprefix(Path(run).resolve().name)
            found[whose] = evaluation
            leans[whose] = lean_in_words(evaluation, config.mirrors_to_the_end)

    _print_table(found, " ".join(urls), leans)
    if args.json:
        write_whole(
            Path(args.json),
            json.dumps(_numbers(found, urls, first.model.layout.names, decoding), indent=1).encode(),
        )
    if args.plots:
        from tsal_dist.insight.plots import draw_evaluations

        for path in draw_evaluations(found, Path(args.plots), first.model.layout.names):
            sys.stdout.write(f"{path}\n")
    return 0


def _refuse_misfits(configs: "dict[str, RunConfig]", shards: "ShardSet", where: str) -> None:
    """ConfigError where the landmarks of a run, by its folder, are not those of the shards, or not those of the first run."""
    from tsal_dist.data.shard_set import refuse_other_names

    if not shards.points:
        raise ConfigError(
            f"{where} holds no labels to measure by. Evaluate on labelled shards; `tsal predict` needs none."
        )
    first, *_ = configs
    for run, config in configs.items():
        if shards.points != config.model.num_points:
            raise ConfigError(
                f"{where} has {shards.points} landmarks and {run} was trained for "
                f"{config.model.num_points}. Evaluate on shards of the same layout."
            )
        names = config.model.layout.names
        refuse_other_names(where, shards.layout.names, run, names)
        refuse_other_names(first, configs[first].model.layout.names, run, names, ONE_BY_ONE)


def _load(run: str, asked: str, step: str, config: "RunConfig") -> "Iterator[Trained]":
    """Whose weights to measure. Both, unless asked for one: a method without a teacher has none, and one that was brought
    along, or has saved nothing yet, is left out."""
    from tsal_dist.inference.trained import NothingSaved, OtherNet, load_trained

    if asked != "teacher":
        yield load_trained(run, "student", step)
    try:
        if asked == "teacher" or (asked == "both" and config.has_teacher):
            yield load_trained(run, "teacher", step)
    except (NothingSaved, OtherNet) as why:
        if asked == "teacher":
            raise
        sys.stderr.write(f"left out: {why}\n")


def _print_table(found: "dict[str, Evaluation]", where: str, leans: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tsal_dist.insight.accuracy_page import SCORES, write_scores

    one = next(iter(found.values()))
    table = Table(title=f"{where}: {one.errors.faces:.0f} frames, errors divided by {one.errors.normalizer}")
    table.add_column("")
    for name in SCORES.values():
        table.add_column(name, justify="right")
    for name, evaluation in found.items():
        table.add_row(name, *write_scores(evaluation.summary()))
        for group, errors in sorted(evaluation.by_group.items()):
            table.add_row(f"  {group} ({errors.faces:.0f})", *write_scores(errors.summary()))
    console = Console()
    # In a log a table must not be folded to the width of a terminal that is not there.
    console.print(table) if console.is_terminal else Console(width=120).print(table)
    for name, lean in leans.items():
        if lean:
            sys.stdout.write(f"{name}: {lean}\n")
    if skipped := one.errors.skipped:
        sys.stdout.write(f"{skipped:.0f} frames were skipped: no truth, or no length to divide by.\n")


def _numbers(
    found: "dict[str, Evaluation]", urls: list[str], names: tuple[str, ...], decoding: "Decoding"
) -> dict[str, object]:
    return {
        "shards": urls,
        "views": decoding.views,
        "companions": decoding.companions,
        **({"point_names": list(names)} if names else {}),
        "models": {
            name: {
                **_all_known(evaluation.summary()),
                "nme_per_point": [if_finite(nme) for nme in evaluation.errors.nme_per_point],
                "lean": evaluation.errors.lean_2.tolist(),
                "groups": {
                    group: _all_known(errors.summary())
                    for group, errors in sorted(evaluation.by_group.items())
                },
            }
            for name, evaluation in found.items()
        },
    }


def _all_known(numbers: dict[str, float | str]) -> dict[str, float | str | None]:
    return {name: value if isinstance(value, str) else if_finite(value) for name, value in numbers.items()}


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
