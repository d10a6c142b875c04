"""Pack videos and images into a folder of shards. The format and every flag: shards/README.md.

    tsal pack --videos clips/ --labels labels.csv --out shards/mine
    tsal pack --videos clips/ --box full --out shards/faces --split train
    tsal pack --lists 300W/train.txt --out shards/300w --split train --labelled 0.05

Run the same command again after an interruption: what is packed is kept. Many machines pack with --machine 1/N to
N/N, at the same time or not; `python -m launch.share` starts them on a cluster. --ray has a Ray cluster pack.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from tsal_dist.cli import progress_line, run_entry
from tsal_dist.clock import format_time
from tsal_dist.pack import flags

if TYPE_CHECKING:
    from tsal_dist.pack.execute import Outcome, Progress
    from tsal_dist.pack.inputs import Input
    from tsal_dist.pack.packing_plan import BoxFrom, PackOptions, Plan

VALIDATION = "val"
"""The split of what --labels holds out."""
_MOST_NAMED = 10


def build_parser() -> argparse.ArgumentParser:
    return flags.build_parser(__doc__)


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)

    from tsal_dist.errors import ConfigError
    from tsal_dist.pack.doubts import tell_scaled_labels
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
        track = tracking(args.subject_model, args.stride, bool(args.videos), bool(args.machine))
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
    tell_scaled_labels(inputs)
    with _cluster(args):
        if not args.labels:
            _pack(args, inputs, options)
            return 0
        train, held_out = hold_out(inputs, args.validation, args.seed, args.validation_of)
        _pack(args, train, options)
        if held_out:
            _pack(args, held_out, replace(options, split=VALIDATION, labelled=1.0))
        else:
            print(
                "Nothing is held out to measure on: that takes labels in two videos, and --validation above 0. Train with "
                "data.validation=[] until there are."
            )
    return 0


def _cluster(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Ray, where it was asked for."""
    from tsal_dist.dist.ray_cluster import join_ray

    wanted = args.ray and not args.dry_run
    return join_ray(args.ray, "--ray", "Packing on a Ray cluster") if wanted else nullcontext()


def _pack(args: argparse.Namespace, inputs: "list[Input]", options: "PackOptions") -> None:
    """Plan and pack one folder."""
    from tsal_dist.pack.doubts import tell_copies
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
    tell_copies(plan.sources)
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
    left = "?" if progress.eta_s is None else format_time(progress.eta_s)
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
