"""Label frames by hand, on a page that this machine serves to itself; the model's guesses are already there.

tsal label runs/mine
tsal label --shards shards/mine/train --names nose left_ear right_ear --out labels.csv
"""

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    from tsal_dist.config import RunConfig
    from tsal_dist.label.server import Desk


def main(argv: list[str]) -> int:
    """Gather the frames, serve the page until Ctrl-C."""
    args = build_parser().parse_args(argv)
    if args.frames < 1:
        raise ConfigError(f"--frames is {args.frames}; it must be at least 1.")
    from tsal_dist.label.server import DeskServer

    desk, config = _desk_of_run(args) if args.run else (_desk_of_shards(args), None)
    server = DeskServer(desk, args.port)
    print(f"label {len(desk.tasks)} frames at {server.url}", flush=True)
    print(f"every frame that you save is in {desk.book.path}; Ctrl-C ends", flush=True)
    if not args.no_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    finally:
        server.server_close()
    print(f"{len(desk.book.entries)} frames are labelled. {pack_words(config, desk.book.path)}")
    return 0


def pack_words(config: "RunConfig | None", table: Path) -> str:
    """How the table comes into shards: beside the labels that a run has learnt from, and with the same footage held out."""
    if config is None:
        return f"Pack them with their videos:\n  tsal pack --videos VIDEOS --labels {table} --out shards/more"
    held_out = config.data.validation
    same = f" --validation-of {held_out[0]}" if len(held_out) == 1 else ""
    return (
        "Pack them with their videos, and with the labels that the run has learnt from:\n"
        f"  tsal pack --videos VIDEOS --labels LABELS {table}{same} --out shards/more"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="a run's folder: what `tsal suggest` suggested, or its choice now",
    )
    add(
        "--shards",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="footage (the run's unlabelled shards)",
    )
    add(
        "--names",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="without a run: what the points are called",
    )
    add(
        "--frames",
        type=int,
        default=20,
        metavar="N",
        help="how many to label, where none were suggested (20)",
    )
    add(
        "--out",
        type=Path,
        metavar="CSV",
        help="the table; one that exists is gone on with (RUN/label/labels.csv)",
    )
    add("--port", type=int, default=0, metavar="N", help="where the page is; 0 takes a free one (0)")
    add("--no-browser", action="store_true", help="only print the address (opens a browser)")
    return parser


def _desk_of_run(args: argparse.Namespace) -> "tuple[Desk, RunConfig]":
    from tsal_dist.inference.suggestion import labelled_since, suggest
    from tsal_dist.inference.trained import load_trained, pick_device
    from tsal_dist.label.book import open_book
    from tsal_dist.label.server import Desk
    from tsal_dist.label.suggested import read_suggestions, write_suggestions
    from tsal_dist.label.tasks import Pictures, open_footage, suggested_tasks
    from tsal_dist.records import Layout
    from tsal_dist.run_dir import RunDir

    trained = load_trained(args.run, "student")
    shards = open_footage(args.run, trained.config, args.shards)
    run_dir = RunDir(args.run)
    folder, table = run_dir.label, args.out or run_dir.labels
    if not read_suggestions(folder, shards.fingerprint):
        found = suggest(trained, shards, args.frames, pick_device(), since=labelled_since(table))
        write_suggestions(folder, shards.fingerprint, found)
    layout = trained.config.model.layout
    names = Layout(layout.names).names_of(trained.config.model.num_points)
    book = open_book(table, Layout(names, layout.skeleton))
    tasks = suggested_tasks(shards, read_suggestions(folder, shards.fingerprint))
    return Desk(tasks, book, Pictures(shards)), trained.config


def _desk_of_shards(args: argparse.Namespace) -> "Desk":
    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.label.book import open_book
    from tsal_dist.label.server import Desk
    from tsal_dist.label.tasks import Pictures, spread_tasks
    from tsal_dist.records import Layout

    if not (args.shards and args.out):
        raise ConfigError("Name a run, or --shards, --names and --out for footage that no model has seen.")
    shards = open_shards(args.shards)
    names = tuple(args.names) or shards.layout.names
    if not names or len(set(names)) < len(names):
        raise ConfigError("The points need names, each its own. Give --names nose left_ear ...")
    book = open_book(args.out, Layout(names, shards.layout.skeleton if names == shards.layout.names else ()))
    return Desk(spread_tasks(shards, args.frames), book, Pictures(shards))


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
