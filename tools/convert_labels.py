"""Labels of one tool into the format of another: csv, coco, deeplabcut, label-studio, cvat, sleap.

tsal convert CollectedData.csv labels.json --to coco

Paths are written from the new file's folder, where they start when it is read.
"""

import argparse
from pathlib import Path

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    """Read, write, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", type=Path, metavar="FILE", help="labels in any format of `tsal pack --lists`"
    )
    parser.add_argument(
        "target", type=Path, metavar="FILE", help="the file to write; one that exists is refused"
    )
    parser.add_argument(
        "--to", required=True, metavar="FORMAT", help="csv, coco, deeplabcut, label-studio, cvat, sleap"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where relative paths start (the folder of the labels)"
    )
    args = parser.parse_args(argv)

    from tsal_dist.errors import ConfigError
    from tsal_dist.pack.formats.formats import write_labels
    from tsal_dist.pack.lists import read_list

    if args.target.exists():
        raise ConfigError(f"{args.target} exists and is not overwritten. Name another file.")
    entries = read_list(args.source, args.root)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    write_labels(args.target, entries, args.to)
    labelled = sum(entry.face.points_K2 is not None for entry in entries)
    print(f"{len(entries)} frames, {labelled} labelled: {args.target}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
