"""A plan's shards packed on a Ray cluster: each share of the plan is a task, which packs what a lost one left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tsal_dist.dist.ray_tasks import count_resource, run_tasks
from tsal_dist.dist.share import Share
from tsal_dist.pack.execute import Progress, pack_share
from tsal_dist.pack.packing_plan import Plan

ROUNDS = 4
"""Shares for each that can be packed at a time: the last ones should not end far apart."""


@dataclass(frozen=True)
class _Work:
    """What every task is told."""

    plan: Plan
    folder: str
    workers: int
    subject_model: str
    apart_from: tuple[str, ...]


def pack_on_ray(
    plan: Plan,
    folder: str,
    *,
    workers: int = 1,
    subject_model: str = "",
    apart_from: Sequence[str] = (),
    on_shard: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Pack all shards on the cluster that was joined, `workers` CPUs a task; `pack` commits them after."""
    slots = max(1, int(count_resource("CPU") // workers))
    shares = min(len(plan.shards), ROUNDS * slots)
    work = _Work(plan, folder, workers, subject_model, tuple(apart_from))
    progress = Progress(len(plan.shards), plan.frames)
    progress.begin()
    for part in run_tasks(_pack, work, [Share(number + 1, shares) for number in range(shares)], workers):
        progress.include(part)
        on_shard(progress)
    return progress


def _pack(work: _Work, share: Share) -> Progress:
    return pack_share(
        work.plan,
        work.folder,
        share,
        workers=work.workers,
        subject_model=work.subject_model,
        apart_from=work.apart_from,
    )
