"""Find landmarks on videos, images, folders of them, a camera or a stream; draw them, and write them as a table.

python -m tsal_dist.predict --run runs/demo --video clip.mp4 --out overlay.mp4 --table landmarks.csv
python -m tsal_dist.predict --run runs/demo --video clips/ --out drawn/ --table landmarks.parquet --smooth
python -m tsal_dist.predict --run runs/demo --video 0 --out camera.mp4
python -m tsal_dist.predict --run runs/demo --video two.mp4 --subjects many --face-model blazeface --out overlay.mp4
python -m tsal_dist.predict --model demo.onnx --video clip.mp4 --table landmarks.csv

The table is a label table too: `tsal pack --lists landmarks.csv` packs it. Many machines predict with --machine 1/N
to N/N and then the same command without it, or with --ray, or as ranks of one torchrun: what they find is kept in
<table>.parts/, and a command that was cut short goes on from there.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import program, progress_line, run_entry
from tsal_dist.dist.share import read_share
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.decoding import add_decoding, read_decoding
from tsal_dist.outputs import check_file
from tsal_dist.pack.flags import add_subject_models

if TYPE_CHECKING:
    from tsal_dist.inference.detector import Detector, Options
    from tsal_dist.inference.opening import Opening
    from tsal_dist.inference.pictures import Source
    from tsal_dist.inference.prediction import Found
    from tsal_dist.models.companions import Fitting


def build_parser() -> argparse.ArgumentParser:
    """What may be asked."""
    parser = argparse.ArgumentParser(
        prog=program("predict"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_detector(parser)
    add_decoding(parser)
    _add_footage(parser)
    _add_subjects(parser)
    _add_output(parser)
    _add_running(parser)
    return parser


def _add_detector(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the detector")
    add = group.add_argument
    detector = group.add_mutually_exclusive_group(required=True)
    detector.add_argument("--run", metavar="DIR", help="a run's folder: its best weights are used")
    detector.add_argument("--weights", metavar="FILE", help="a file of weights, such as `tsal export` writes")
    detector.add_argument(
        "--model", metavar="FILE", help="an .onnx file of `tsal export --whole`: run without torch"
    )
    add(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="config of --weights, where the file does not say it",
    )
    add("--role", choices=["student", "teacher"], default="student", help="whose weights (student)")
    add("--step", default="best", help="best by validation, last, or a step (best)")


def _add_footage(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what it looks at").add_argument
    add(
        "--video",
        required=True,
        nargs="+",
        action="extend",
        metavar="PATH",
        help="videos, images, folders of them, the number of a camera, the address of a stream",
    )
    add("--frames", metavar="FIRST:LAST", help="these frames of each video only, counted from 1")


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the subjects")
    add = group.add_argument
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--first-box",
        nargs=4,
        type=float,
        metavar=("X1", "Y1", "X2", "Y2"),
        help="around the subject's points in the first frame (default: it is searched for)",
    )
    where.add_argument(
        "--boxes",
        metavar="CSV",
        help="path[,frame],x1,y1,x2,y2 per line, around the subject's points; frames count from 1",
    )
    add_subject_models(where)
    add(
        "--subjects",
        choices=["one", "many"],
        default="one",
        help="follow one subject, or all there are, each with a number (one)",
    )
    add("--threshold", type=float, default=0.5, help="probability from which a subject counts as found (0.5)")
    add(
        "--max-error",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="points expected to be off by more than this share of the subject's size are not drawn (0.15)",
    )
    add(
        "--smooth",
        nargs="?",
        const="offline",
        default="",
        choices=["offline", "causal"],
        help="against trembling: by the frames before and after (offline), or by those before (causal)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what comes out").add_argument
    add(
        "--out",
        metavar="PATH",
        help="overlay: a video or an image for one input, a folder for several; H.264 needs the extra `video`",
    )
    add("--table", metavar="FILE", help="landmarks as .parquet or .csv, one row per frame and subject")


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs")
    add = group.add_argument
    add("--threads", type=int, default=0, metavar="N", help="of the detector on a CPU (whichever is faster)")
    together = group.add_mutually_exclusive_group()
    together.add_argument(
        "--machine",
        type=read_share,
        metavar="I/N",
        help="the I-th of N machines that look at the inputs together; the same command without it writes what is asked for",
    )
    together.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="have a Ray cluster look at the inputs: `auto` or host:port joins one, `local` makes one of this machine",
    )


def main(argv: list[str]) -> int:
    """Predict all inputs."""
    args = build_parser().parse_args(argv)
    if not (args.out or args.table):
        raise ConfigError("Nothing would be written. Name an overlay (--out), a table (--table), or both.")
    _check_numbers(args)
    _check_detector(args)
    if args.table:
        inputs = [*args.video, args.boxes] if args.boxes else args.video
        check_file("--table", args.table, (".parquet", ".csv"), _files(inputs))

    from tsal_dist.inference.detector import find_subjects
    from tsal_dist.inference.overlay import plan_overlays
    from tsal_dist.inference.pictures import find_sources
    from tsal_dist.inference.together import look_at_share, look_on_ray, open_kept, plan_together, read_source
    from tsal_dist.pack.inputs import refuse_no_text

    sources = find_sources(args.video)
    for flag, path in (("--table", args.table), ("--out", args.out)):
        if path:
            refuse_no_text(flag, path)
    options = _options(args, sources)
    plan = plan_together(args.table, args.machine, args.ray, sources)
    if args.smooth and any(source.kind == "live" for source in sources):
        raise ConfigError("--smooth reads a video twice, which a camera or stream cannot be. Leave it out.")
    overlays = plan_overlays(args.out, sources)
    if args.subject_model:
        find_subjects(args.subject_model)  # a wrong name should not be found out after the run was opened
    _log_plainly()
    opening = _opening(args)
    detector = _open(opening)
    kept = open_kept(plan, opening, detector, options, sources)
    if kept and plan.ray:
        with progress_line("looking") as tell:
            look_on_ray(plan, opening, options, kept, sources, tell)
    if kept and plan.share:
        text = look_at_share(plan, detector, options, kept, sources)
        if text:
            sys.stderr.write(f"{text}\n")
            return 0
    drawn = {source.path: to for source, to in zip(sources, overlays, strict=True)}
    return _write(args, sources, options, lambda source: read_source(detector, source, options, drawn, kept))


def _write(
    args: argparse.Namespace,
    sources: "list[Source]",
    options: "Options",
    read: "Callable[[Source], list[Found]]",
) -> int:
    """The table, an input at a time, and what became of each."""
    from tsal_dist.inference.detector import read_each
    from tsal_dist.inference.fates import Fate, find_fate, summarise, tell_fate
    from tsal_dist.inference.given_boxes import GivenBoxes
    from tsal_dist.inference.table import open_table

    fates: list[Fate] = []
    boxes = GivenBoxes(options.boxes)
    with open_table(Path(args.table), options.most_error) if args.table else nullcontext() as add:
        for source, found in read_each(sources, read):
            if isinstance(found, str):
                fates.append(Fate(source, found))
                continue
            fates.append(find_fate(source, found, options.most_error))
            boxes.compare(found)
            if add:
                add(found)
    sys.stderr.write("".join(f"{doubt}\n" for doubt in boxes.doubts()))
    if len(sources) > 1:
        sys.stderr.write("".join(f"{tell_fate(fate, options.frames)}\n" for fate in fates))
    sys.stderr.write(f"{summarise(fates, options.subjects == 'many', options.most_error)}\n")
    unread = [fate.source.path for fate in fates if fate.unread]
    if unread:
        raise DataError(
            f"{len(unread)} of {len(sources)} inputs are left out of what was written, such as {unread[0]}. Why is said "
            f"above: mend them, or name the others only."
        )
    return 0


def _files(names: list[str]) -> list[str]:
    return [name for name in names if os.path.exists(name)]


def _check_numbers(args: argparse.Namespace) -> None:
    share = "above 0 and at most 1, a share of the subject's size: 0.15 is 15 %"
    rules = (
        ("--threshold", args.threshold, 0 < args.threshold < 1, "between 0 and 1"),
        ("--max-error", args.max_error, 0 < args.max_error <= 1, share),
        ("--threads", args.threads, args.threads >= 0, "0 or more"),
    )
    for flag, value, holds, rule in rules:
        if not holds:
            raise ConfigError(f"{flag} is {value:g}; it must be {rule}.")
    if args.frames:
        from tsal_dist.inference.pictures import FrameRange

        FrameRange.parse(args.frames)
    if args.first_box:
        from tsal_dist.pack.face import check_box

        try:
            check_box(tuple(args.first_box))
        except DataError as error:
            raise ConfigError(f"--first-box: {error}.") from None


def _check_detector(args: argparse.Namespace) -> None:
    """What is fixed in a file with everything inside cannot be asked for anew."""
    if (args.weights or "").lower().endswith(".onnx"):
        raise ConfigError(f"--weights is {args.weights!r}, a graph. Name it with --model.")
    if not args.model:
        return
    decoding = read_decoding(args)
    rules = (
        (f"--views {decoding.views}", decoding.views == 1, "it looks once at a crop"),
        ("--companions", not decoding.companions, "the labels that it would read are the run's"),
        ("--config", not args.config, "it holds its own"),
        (f"--role {args.role}", args.role == "student", "it holds the role that was exported"),
        (f"--step {args.step}", args.step == "best", "it holds the step that was exported"),
    )
    for flag, holds, why in rules:
        if not holds:
            raise ConfigError(
                f"{flag} cannot be had of the file {args.model}: {why}. Predict from the run (--run)."
            )


def _log_plainly() -> None:
    """Warnings as single lines."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)


def _options(args: argparse.Namespace, sources: "list[Source]") -> "Options":
    import numpy as np

    from tsal_dist.inference.detector import Options
    from tsal_dist.inference.pictures import FrameRange

    return Options(
        frames=FrameRange.parse(args.frames) if args.frames else FrameRange(),
        first_box=np.array(args.first_box) if args.first_box else None,
        boxes=_read_boxes(args.boxes, sources) if args.boxes else {},
        threshold=args.threshold,
        most_error=args.max_error,
        smooth=args.smooth,
        subjects=args.subjects,
        subject_model=args.subject_model,
    )


def _read_boxes(path: str, sources: "list[Source]") -> "dict[tuple[str, int | None], Any]":
    """Boxes by source and frame. Paths start at the working folder, or else at the file's own."""
    import numpy as np

    from tsal_dist.pack.formats.table import read_csv

    known = {os.path.realpath(source.path): source for source in sources}
    boxes: dict[tuple[str, int | None], Any] = {}
    for entry in read_csv(Path(path), Path()):
        places = [os.path.realpath(entry.path), os.path.realpath(Path(path).parent / entry.path)]
        source = next((known[place] for place in places if place in known), None)
        if source is None:
            raise ConfigError(
                f"{path} has a box for {entry.path}, which is no input. Name it with --video too."
            )
        if entry.face.box is None:
            continue
        frame = entry.frame or 0
        boxes[source.path, None if source.kind == "image" else frame] = np.array(entry.face.box)
    return boxes


def _labels_fitting(run: str | None) -> "Fitting":
    from tsal_dist.run import load_run
    from tsal_dist.runs.labelled_points import learn_fitting_of

    if run is None:
        raise ConfigError("--companions reads the labels of a run: name it (--run), not a file of weights.")
    return learn_fitting_of(Path(run), load_run(run).config)


def _opening(args: argparse.Namespace) -> "Opening":
    from tsal_dist.inference.opening import Opening

    if args.model:
        return Opening(model=args.model, threads=args.threads)
    from tsal_dist.config import load_config

    decoding = read_decoding(args)
    if decoding.companions:
        decoding = replace(decoding, fitting=_labels_fitting(args.run))
    return Opening(
        run=args.run,
        weights=args.weights,
        role=args.role,
        step=args.step,
        config=load_config(args.config) if args.config else None,
        threads=args.threads,
        decoding=decoding,
    )


def _open(opening: "Opening") -> "Detector":
    from tsal_dist.inference.watch import progress_bar

    with progress_bar("measuring how far scores can be trusted, once") as on_frame:
        detector = opening.open(on_frame)
    if detector.unknown:
        sys.stderr.write(f"{detector.name}: {detector.unknown}\n")
    return detector


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
