"""Find landmarks on a video, an image or a folder of images; draw them, and write them as a table.

python -m tsal_dist.predict --run runs/demo --video clip.mp4 --out overlay.mp4 --table landmarks.parquet
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    from tsal_dist.inference.prediction import Found, Picture
    from tsal_dist.inference.trained import Trained


def main(argv: list[str]) -> int:
    """Predict one input."""
    parser = argparse.ArgumentParser(
        prog="python -m tsal_dist.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", metavar="DIR", help="a run's folder: its best weights are used")
    source.add_argument(
        "--weights", metavar="FILE", help="a file of weights, such as tools/export_weights.py writes"
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="config of --weights, where the file does not say it",
    )
    parser.add_argument(
        "--role", choices=["student", "teacher"], default="student", help="whose weights (student)"
    )
    parser.add_argument("--step", default="best", help="best by validation, last, or a step (best)")
    parser.add_argument(
        "--video", required=True, metavar="PATH", help="a video, an image or a folder of images"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--first-box",
        nargs=4,
        type=float,
        metavar=("X1", "Y1", "X2", "Y2"),
        help="the face in the first frame",
    )
    where.add_argument(
        "--boxes", metavar="CSV", help="path[,frame],x1,y1,x2,y2 per line; frames count from 1"
    )
    parser.add_argument(
        "--out", metavar="PATH", help="overlay: a video for a video, an image or a folder for images"
    )
    parser.add_argument("--table", metavar="FILE", help="landmarks as .parquet or .csv, one row per frame")
    args = parser.parse_args(argv)
    if not (args.out or args.table):
        raise ConfigError("Nothing would be written. Name an overlay (--out), a table (--table), or both.")
    if args.table and Path(args.table).suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--table is {args.table!r}; its name must end in .parquet or .csv.")

    import numpy as np

    from tsal_dist.inference.overlay import open_overlay
    from tsal_dist.inference.prediction import Finder, count_pictures, follow, frame_rate, read_pictures
    from tsal_dist.inference.table import write_table
    from tsal_dist.inference.trained import pick_device

    path = Path(args.video)
    if not path.exists():
        raise ConfigError(f"There is no {path}. Name a video, an image or a folder of images.")
    trained = _load(args)
    finder = Finder(trained, pick_device())
    first_box = np.array(args.first_box) if args.first_box else None
    found = follow(finder, read_pictures(path), first_box, _read_boxes(args.boxes))
    rows = []
    with open_overlay(args.out, path, frame_rate(path)) as overlay:
        for picture, one in _with_progress(found, count_pictures(path), trained.name):
            rows.append(one)
            overlay.add(picture.image_HWC, one.points_K2, one.score_K, Path(picture.path).name)
    if args.table:
        write_table(Path(args.table), rows)
    return 0


def _load(args: argparse.Namespace) -> "Trained":
    from tsal_dist.config import load_config
    from tsal_dist.inference.trained import load_trained, load_weights

    if args.run:
        return load_trained(args.run, args.role, args.step)
    return load_weights(args.weights, load_config(args.config) if args.config else None)


def _read_boxes(path: str | None) -> "dict[tuple[str, int], Any]":
    import numpy as np

    from tsal_dist.pack.formats.table import read_csv

    if path is None:
        return {}
    entries = read_csv(Path(path), Path())
    return {(entry.path, entry.frame or 0): np.array(entry.face.box) for entry in entries if entry.face.box}


def _with_progress(
    found: "Iterator[tuple[Picture, Found]]", count: int, name: str
) -> "Iterator[tuple[Picture, Found]]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=count or None)
        for each in found:
            yield each
            progress.advance(task)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
