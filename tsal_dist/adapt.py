"""Adapt a trained detector to other footage: it learns on from its labels, and from what its teacher sees there.

tsal adapt runs/mine --footage shards/night/train
torchrun --nproc-per-node 2 -m tsal_dist.adapt runs/mine --footage shards/night/train --validation shards/night/val
tsal adapt runs/mine --footage shards/night/train shards/rain/train run.dir=runs/rain method.name=companions

A new run begins with the weights of RUN (its best checkpoint), by its settings. The old labels are learnt on with, so that
nothing is forgotten; frames of the footage that have labels are learnt too. RUN is only read.
"""

import argparse
from pathlib import Path

from tsal_dist.cli import program, run_entry
from tsal_dist.config import RunConfig
from tsal_dist.config.data import DataConfig
from tsal_dist.config.method import ALONE
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.run import load_run
from tsal_dist.runs.second_run import follow, split_settings
from tsal_dist.runs.start import start
from tsal_dist.train import add_start

METHOD = "tsal"
"""Of a run that had no teacher: what moves from frame to frame tells right labels from wrong ones where the net is unsure."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("adapt"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a trained run")
    add(
        "--footage",
        nargs="+",
        action="extend",
        required=True,
        metavar="DIR",
        help="shards of the other footage",
    )
    add("--validation", nargs="+", action="extend", default=[], metavar="DIR",
        help="held-out labelled shards of the other footage (RUN's own, which say little of it)")  # fmt: skip
    add("--step", default="best", metavar="N", help="best by validation, last, or a step (best)")
    add_start(parser, parser.add_mutually_exclusive_group())
    return parser


def main(argv: list[str]) -> int:
    """RUN's settings with other footage; everything else is training."""
    args = build_parser().parse_intermixed_args(argv)
    with StopFlag() as stop:
        return start(adapted(args), args, stop)


def adapted(args: argparse.Namespace) -> RunConfig:
    """The new run's settings."""
    from tsal_dist.inference.held_out import find_named
    from tsal_dist.runs.follow_shards import are_stills
    from tsal_dist.runs.named_shards import open_named

    trained = load_run(args.run)
    was = trained.config
    footage, settings_behind = split_settings("--footage", args.footage)
    validation, more_behind = split_settings("--validation", args.validation)
    named = find_named(trained.dir.root, was, "labelled")
    opened = {url: open_named("--footage", [url], was) for url in footage}
    labelled = [*named, *(url for url, shards in opened.items() if shards.manifests[0].labelled)]
    clip_frames = was.data.clip_frames if was.data.clip_frames > 1 else DataConfig().clip_frames
    settings = {
        "runtime.fork": str(args.run),
        "runtime.fork_step": args.step,
        "data.labelled": labelled,
        "data.unlabelled": footage,
        "data.clip_frames": 1 if all(map(are_stills, opened.values())) else clip_frames,
        "train.burn_in_steps": 0,
        # RUN's own held-out frames do not say what there is to learn elsewhere, nor who sees better there.
        "train.loss.headroom": bool(validation),
        "train.gate.enabled": bool(validation),
    }
    if validation:
        settings["data.validation"] = validation
    if was.method.name == ALONE:
        settings["method.name"] = METHOD
    return follow(trained, "adapted", settings, [*settings_behind, *more_behind, *args.overrides])


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
