"""Train: one process of a run. torchrun starts as many as the topology needs.

torchrun --nproc-per-node 3 -m tsal_dist.train --config configs/demo.toml
python -m tsal_dist.train --config configs/demo.toml runtime.topology=inline
python -m tsal_dist.train --resume runs/demo
python -m tsal_dist.train --resume runs/demo train.steps=1000
python -m tsal_dist.train --from runs/demo --step 400 run.dir=runs/demo-fork method.name=companions
python -m tsal_dist.train --replay-plan runs/demo run.dir=runs/demo-again
"""

import argparse
from pathlib import Path

from tsal_dist.cli import program, run_entry
from tsal_dist.dist.shutdown import StopFlag


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="a config file; later ones win; repeatable",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on from the last checkpoint of the run in this folder, with its settings; without a folder, of the "
        "run that the settings name. train.steps may grow",
    )
    add_start(parser, existing)
    another_run = parser.add_mutually_exclusive_group()
    another_run.add_argument(
        "--replay-plan",
        metavar="RUN",
        help="students alone, trained once more by a finished run's plans and labels; the config is that run's",
    )
    another_run.add_argument(
        "--offline",
        action="append",
        metavar="RUN",
        help="students alone, taught by the label log of another run; repeatable",
    )
    parser.add_argument(
        "--from",
        dest="fork",
        metavar="RUN",
        help="a new run that begins from a checkpoint of this one, by its config unless there is another; name another "
        "place for it (run.dir=...)",
    )
    parser.add_argument("--step", metavar="N", help="with --from: last, best by validation, or a step (last)")
    parser.add_argument(
        "--profile",
        type=int,
        metavar="N",
        help="watch N steps of student 0 with torch's profiler (runtime.log.profile)",
    )
    return parser


def add_start(parser: argparse.ArgumentParser, existing: argparse._ActionsContainer) -> None:
    """The words of everything that trains: what becomes of a run that is there, what is only shown, and settings."""
    parser.set_defaults(resume=None)  # not every page has that flag
    existing.add_argument(
        "--resume-or-start",
        action="store_true",
        help="go on where there is a run, and start it where there is none: for launchers",
    )
    existing.add_argument(
        "--clean", action="store_true", help="delete the run that is already there and start anew"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved config and the role map, start nothing"
    )
    parser.add_argument(
        "--rates",
        metavar="FILE",
        help="with --dry-run: refuse a config that starves its devices, by these rates of `tsal plan --rates`",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="settings that win over the others"
    )


def main(argv: list[str]) -> int:
    """Listen to signals, and hand over: what is imported here takes seconds, and this page next to nothing."""
    with StopFlag() as stop:
        # The two kinds of words may stand in any order: launchers append overrides, people append flags.
        args = build_parser().parse_intermixed_args(argv)
        if args.resume and "=" in args.resume and not Path(args.resume).exists():
            # `--resume section.key=value`: the word after the flag was a setting.
            args.overrides, args.resume = [args.resume, *args.overrides], ""

        from tsal_dist.runs.start import chosen_config, start

        return start(chosen_config(args), args, stop)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
