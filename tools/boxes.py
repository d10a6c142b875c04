"""Train a net that finds your subject in whole pictures, from the labels that its landmarks are learnt from.

    tsal boxes --videos my_videos --labels my_labels.csv --out boxes.safetensors

The boxes are those around the labelled points; of a labelled frame all subjects must be labelled. A row without points and
without a box says that a frame shows none. Then `tsal pack` and `tsal predict` take the file: --box-model boxes.safetensors.
"""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tsal_dist.boxes.learning import OnStep
    from tsal_dist.boxes.making import Split
    from tsal_dist.models.box_net import BoxNote

LITTLE = 0.7
"""Share of the subjects found below which it is said that it is little."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--videos",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help="video files, or folders searched for them, as for `tsal pack`",
    )
    add(
        "--labels",
        nargs="+",
        action="extend",
        type=Path,
        required=True,
        metavar="FILE",
        help="labels of frames within --videos, or of pictures, in any format that `tsal pack` reads",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="the box model; ends in .safetensors")
    add("--root", type=Path, metavar="DIR", help="where relative paths start (a list's folder)")
    add(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the labelled videos, how many are held out to measure on: those that `tsal pack` holds out (0.2)",
    )
    add(
        "--validation-of",
        default="",
        metavar="URL",
        help="as for `tsal pack`: hold out what is held out in this folder, in place of a share",
    )
    add("--steps", type=int, default=300, metavar="N", help="steps of 8 pictures (300)")
    add(
        "--side",
        type=int,
        default=0,
        metavar="PX",
        help="of the square that the net sees (by the subjects' size)",
    )
    add(
        "--detector",
        default="lite0",
        metavar="NAME",
        help="the net: lite, or lite0 from ImageNet (extra `pretrained`), or another of `tsal detectors` (lite0)",
    )
    add("--seed", type=int, default=0, metavar="K", help="of what is held out, and of the training (0)")
    add("--dry-run", action="store_true", help="say what would be learnt from, and write nothing")
    return parser


def main(argv: list[str]) -> int:
    """Read, learn, measure, write."""
    args = build_parser().parse_args(argv)
    _check_numbers(args)

    from tsal_dist.boxes.making import split_frames
    from tsal_dist.outputs import check_file
    from tsal_dist.pack.gather import gather_inputs
    from tsal_dist.pack.subject_models import BOX_MODEL

    if not args.dry_run:
        check_file("--out", args.out, (BOX_MODEL,), [*args.videos, *args.labels])
    inputs = gather_inputs(
        *([] if args.videos else args.labels, args.videos),
        labels=args.labels if args.videos else (),
        root=args.root,
        track=list,  # two labels of a frame that nothing tells apart are two subjects
    )
    split = split_frames(inputs, args.validation, args.seed, args.validation_of)
    print(_describe(split))
    if args.dry_run:
        return 0
    note = _make(args, split)
    print(_tell(args.out, note))
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    from tsal_dist.errors import ConfigError

    rules = (
        ("--steps", args.steps, args.steps >= 1, "1 or more"),
        (
            "--side",
            args.side,
            args.side == 0 or (args.side >= 64 and args.side % 32 == 0),
            "a multiple of 32 from 64",
        ),
    )
    for flag, value, holds, rule in rules:
        if not holds:
            raise ConfigError(f"{flag} is {value}; it must be {rule}.")


def _make(args: argparse.Namespace, split: "Split") -> "BoxNote":
    from tsal_dist.boxes.labelled import MOST_KEPT, read_frames
    from tsal_dist.boxes.learning import Lesson
    from tsal_dist.boxes.making import choose_side, make_box_model
    from tsal_dist.inference.watch import progress_bar

    weights = _find_weights(args.detector)
    with progress_bar("reading labelled frames") as show:
        train = read_frames(split.train, args.seed, show)
    with progress_bar("reading held-out frames") as show:
        held = read_frames(split.held, args.seed, show) if split.held else []
    asked = sum(min(len(part), MOST_KEPT) for part in (split.train, split.held))
    if left_out := asked - len(train) - len(held):
        text = f"{left_out} of {asked} labelled frames are left out: they cannot be read, or a label lies outside of the picture"
        print(text, file=sys.stderr)
    side_px = args.side or choose_side(train)
    lesson = Lesson(args.detector, side_px, weights, args.steps, seed=args.seed)

    @contextmanager
    def watch(name: str) -> "Iterator[OnStep]":
        with progress_bar(f"{name}, {side_px} px", "steps") as show:
            yield lambda done, loss: show(done, args.steps, f"loss {loss:.2f}")

    return make_box_model(args.out, split, (train, held), lesson, watch)


def _find_weights(detector: str) -> str:
    from tsal_dist.errors import ConfigError
    from tsal_dist.models.published import locate_weights

    try:
        return locate_weights(detector, "")
    except ConfigError as error:
        raise ConfigError(
            f"{error} Here: take one that starts from nothing, --detector lite --steps 1000."
        ) from None


def _describe(split: "Split") -> str:
    parts = []
    for what, frames in (("learns from", split.train), ("is measured on", split.held)):
        videos = len({one.name for one in frames})
        empty = sum(one.empty for one in frames)
        subjects = sum(len(one.faces) for one in frames if not one.empty)
        parts.append(
            f"{what} {len(frames)} frames of {videos} videos or pictures with {subjects} subjects, {empty} without any"
        )
    if not split.held:
        parts[1] = "is measured on halves of these, as no other video is labelled"
    return f"labels {split.labels}: {'; '.join(parts)}"


def _tell(out: Path, note: "BoxNote") -> str:
    text = f"{out}: {note.detector} at {note.side_px} px"
    if note.recall is None:
        return (
            f"{text}; how much it finds could not be measured: that takes more labelled frames with a subject"
        )
    little = "" if note.recall >= LITTLE else ". That is little: label more frames, or give it more --steps"
    right = "" if note.precision is None else f", {100 * note.precision:.0f} % of its boxes are right"
    return (
        f"{text}; on {note.judged} ({note.frames} frames) it finds {100 * note.recall:.0f} % of {note.subjects} subjects"
        f"{right}, from a score of {note.threshold:.2f} on{little}"
    )


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
