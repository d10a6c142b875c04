"""One HTML page about a run: scores, curves, frames, where its labels came from. Needs no network to be read.

tsal report runs/demo
tsal report runs/demo runs/supervised --shards shards/demo-val --out report.html
"""

import argparse
from pathlib import Path

from tsal_dist.cli import run_entry
from tsal_dist.outputs import check_file


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of runs; the first is told in full"
    )
    parser.add_argument(
        "--shards",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="labelled shards (default: the first run's validation)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the page goes (default: RUN/report/index.html)"
    )
    return parser


def main(argv: list[str]) -> int:
    """Measure, draw, write."""
    args = build_parser().parse_args(argv)
    if args.out:
        check_file("--out", args.out)

    from tsal_dist.insight.report import build_report
    from tsal_dist.run_dir import RunDir, write_whole

    text = build_report(args.runs, args.shards)
    out = args.out or RunDir(args.runs[0]).report / "index.html"
    write_whole(out, text.encode())
    print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
