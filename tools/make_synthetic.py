"""Render videos of synthetic faces with 68 landmarks per frame: data that anyone may have.

    tsal demo-data --out demo/synthetic --videos 40 --frames 48 --size 160 --seed 1

Writes videos/<id>/vid.avi with videos/<id>/annot/<frame>.pts (300VW's layout), train.lst and test.lst (SBR's
list format), contact.png to look at, and synthetic.json. The same options write the same bytes.
"""

import argparse
from pathlib import Path

from tsal_dist.cli import run_entry


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    parser.add_argument("--videos", type=int, default=40, metavar="N", help="number of clips (40)")
    parser.add_argument("--frames", type=int, default=48, metavar="T", help="frames per clip (48)")
    parser.add_argument("--size", type=int, default=160, metavar="S", help="side of a frame in pixels (160)")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="another seed, other people (0)")
    parser.add_argument(
        "--labelled", type=float, default=0.05, metavar="SHARE",
        help="share of the train frames that keep their annotation in train.lst (0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--test-share", type=float, default=0.2, metavar="SHARE", help="share of the clips in test.lst (0.2)"
    )
    parser.add_argument("--fps", type=float, default=25.0, help="frame rate written into the videos (25)")
    parser.add_argument("--quality", type=int, default=92, help="JPEG quality of the videos (92)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; changes no byte (1)")
    parser.add_argument("--clean", action="store_true", help="replace synthetic data that is already there")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    return parser


def main(argv: list[str]) -> int:
    """Parse, render, report."""
    args = build_parser().parse_args(argv)

    from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

    spec = DatasetSpec(
        videos=args.videos,
        frames=args.frames,
        size_px=args.size,
        seed=args.seed,
        labelled=args.labelled,
        test_share=args.test_share,
        fps=args.fps,
        quality=args.quality,
    )
    train = spec.videos - spec.test_videos
    plan = (
        f"{train} train and {spec.test_videos} test clips of {spec.frames} frames, "
        f"{spec.labelled_frames} of {train * spec.frames} train frames labelled"
    )
    if args.dry_run:
        print(f"{args.out}: {plan}")
        return 0

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"),
        TextColumn("{task.fields[rate]}"), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns) as progress:
        task = progress.add_task("clips", total=spec.videos, rate="")

        def show(done: int) -> None:
            elapsed = progress.tasks[0].elapsed or 1e-9
            progress.update(task, completed=done, rate=f"{done * spec.frames / elapsed:.0f} frames/s")

        write_dataset(args.out, spec, workers=args.workers, clean=args.clean, on_clip=show)
    print(f"{args.out}: {plan}; look at {args.out / 'contact.png'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
