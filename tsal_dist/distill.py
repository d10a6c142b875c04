"""Distill a trained detector into a smaller one: the small one learns the points that the large one sees, and how it sees them.

tsal distill runs/large --detector lite
torchrun --nproc-per-node 2 -m tsal_dist.distill runs/large --detector lite --footage shards/more/train

A new run by RUN's settings, with another net and the method feature_distillation: the labels that RUN learnt from, and on
the footage RUN itself as a teacher that does not change. The more footage, the better; it needs no labels. RUN is only read.
"""

import argparse
import sys
from pathlib import Path

from tsal_dist.cli import program, run_entry
from tsal_dist.config import RunConfig
from tsal_dist.dist.environment import read_environment
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.run import load_run
from tsal_dist.runs.second_run import follow, split_settings
from tsal_dist.runs.start import start
from tsal_dist.train import add_start

METHOD = "feature_distillation"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("distill"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a trained run")
    add(
        "--detector", default="lite", metavar="NAME", help="the small net; `tsal detectors` lists them (lite)"
    )
    add(
        "--footage",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="shards to watch (RUN's own)",
    )
    add_start(parser, parser.add_mutually_exclusive_group())
    return parser


def main(argv: list[str]) -> int:
    """RUN's settings with another net and RUN for its teacher; everything else is training."""
    args = build_parser().parse_intermixed_args(argv)
    with StopFlag() as stop:
        return start(distilled(args), args, stop)


def distilled(args: argparse.Namespace) -> RunConfig:
    """The new run's settings."""
    from tsal_dist.inference.held_out import find_named

    trained = load_run(args.run)
    of_run = trained.dir.root, trained.config
    footage, settings_behind = split_settings("--footage", args.footage)
    settings = {
        "model.detector": args.detector,
        "model.weights": "",
        "data.unlabelled": footage or find_named(*of_run, "unlabelled") or find_named(*of_run, "labelled"),
        "train.burn_in_steps": 0,
        "method.name": METHOD,
        "method.teacher": str(args.run),
    }
    config = follow(trained, "small", settings, [*settings_behind, *args.overrides])
    ours, theirs = config.model.crop_px, trained.config.model.crop_px
    if ours != theirs and read_environment().rank == 0:
        sys.stderr.write(
            f"warning: model.crop_px is {ours}, and {args.run} learnt at {theirs}: it looks at the small net's crops, and sees "
            "worse there than it is measured to.\n"
        )
    return config


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
