"""Run a plan: shards to workers, shards that are done left alone, and the manifest when all are there.

The bytes of a shard do not depend on who packs it or when. Consecutive shards of one long video go to one
worker, which decodes it once. Work ends by counting shards, never by a timeout.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import cv2

from tsal_dist.dist.share import Share
from tsal_dist.errors import DataError
from tsal_dist.pack.boxes import Detector
from tsal_dist.pack.decode import Decoder
from tsal_dist.pack.packing_plan import Plan, ShardPlan
from tsal_dist.pack.retry import Closed
from tsal_dist.pack.sources import (
    SOURCES,
    SourceRow,
    check_apart,
    encode_sources,
    final_rows,
    first_rows,
    sibling_splits,
)
from tsal_dist.pack.subject_models import load_detector
from tsal_dist.pack.workplace import bind_plan, share_lock, workplace
from tsal_dist.pack.write import Packed, Target, finished_shard, pack_shard, put
from tsal_dist.shards.manifest import MANIFEST, Manifest, Shard, build_manifest, encode_manifest

log = logging.getLogger(__name__)

_ORPHAN_POLL_S = 0.2


@dataclass
class Progress:
    """What a person wants to know while it runs."""

    shards: int
    frames: int
    """Planned; a file may turn out to hold more or fewer."""
    shards_done: int = 0
    frames_done: int = 0
    bytes_done: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    """Frames that failed in this run, by status."""
    frames_before: int = 0
    bytes_before: int = 0
    started_s: float = field(default_factory=time.monotonic)

    def add(self, shard: Shard, planned: int) -> None:
        self.shards_done += 1
        self.frames_done += planned
        self.bytes_done += shard.tar_bytes

    def include(self, part: "Progress") -> None:
        """What somebody else did of the same plan, from `begin` to its end."""
        self.shards_done += part.shards_done
        self.frames_done += part.frames_done
        self.bytes_done += part.bytes_done
        self.problems += part.problems
        self.frames_before += part.frames_before
        self.bytes_before += part.bytes_before

    def begin(self) -> None:
        """What is done so far was done by an earlier run."""
        self.frames_before, self.bytes_before = self.frames_done, self.bytes_done
        self.started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return max(1e-9, time.monotonic() - self.started_s)

    @property
    def frames_per_s(self) -> float:
        return (self.frames_done - self.frames_before) / self.elapsed_s

    @property
    def bytes_per_s(self) -> float:
        return (self.bytes_done - self.bytes_before) / self.elapsed_s

    @property
    def eta_s(self) -> float | None:
        """None before the first shard."""
        return (self.frames - self.frames_done) / self.frames_per_s if self.frames_per_s else None


@dataclass(frozen=True)
class Outcome:
    """A packed folder."""

    manifest: Manifest
    sources: tuple[SourceRow, ...]
    progress: Progress

    @property
    def bad(self) -> list[SourceRow]:
        """Inputs that could not be packed as a whole."""
        return [row for row in self.sources if row.status != "ok"]

    @property
    def causes(self) -> Counter[str]:
        return Counter(row.status for row in self.bad)


def pack(
    plan: Plan,
    folder: str,
    *,
    workers: int = 1,
    subject_model: str = "",
    apart_from: Sequence[str] = (),
    max_fail: float = 1.0,
    on_shard: Callable[[Progress], None] = lambda _: None,
    earlier: Closed | None = None,
) -> Outcome:
    """Bring `folder` to the state that the plan describes, from whatever an earlier run left there.

    `earlier` is a closed folder that the plan adds to. The manifest is written only when the share of bad inputs
    is within `max_fail`; what was packed stays, so that a second run with another bound only closes the folder.
    """
    rows = _merge(earlier.sources if earlier else (), first_rows(plan.sources))
    done = earlier.manifest.shards if earlier else ()
    with workplace(folder, plan) as scratch:
        check_apart(rows, folder, [*sibling_splits(folder), *apart_from])
        bind_plan(folder, plan, scratch, first_shard=len(done))
        points = earlier.manifest.points if earlier else plan.points
        target = Target(folder, scratch, plan.fingerprint, points, plan.options)
        put(encode_sources(rows), target, SOURCES, durable=False)
        progress = Progress(len(plan.shards), plan.frames)
        shards = _pack_shards(plan.shards, target, workers, subject_model, progress, on_shard)
        rows = final_rows(rows, (*done, *shards), folder)
        put(encode_sources(rows), target, SOURCES)
        check_apart(rows, folder, [*sibling_splits(folder), *apart_from])
        base = earlier.manifest.plan if earlier else plan.fingerprint
        layout = earlier.manifest.layout if earlier else plan.layout
        first_pixel = plan.first_pixel.union(earlier.manifest.first_pixel if earlier else ())
        manifest = build_manifest(
            plan.options.split,
            base,
            plan.scheme,
            points,
            (*done, *shards),
            layout,
            sorted(first_pixel),
            plan.options.face_crops,
        )
        outcome = Outcome(manifest.model_copy(update={"url": folder}), tuple(rows), progress)
        _check_failures(outcome, max_fail)
        put(encode_manifest(manifest), target, MANIFEST)
    return outcome


def pack_share(
    plan: Plan,
    folder: str,
    share: Share,
    *,
    workers: int = 1,
    subject_model: str = "",
    apart_from: Sequence[str] = (),
    on_shard: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Pack one machine's share of the plan. Others may be at work in the folder; `pack` commits it after all."""
    shards = share.choose(plan.shards)
    progress = Progress(len(shards), sum(shard.frames for shard in shards))
    with workplace(folder, plan, share) as scratch:
        check_apart(first_rows(plan.sources), folder, [*sibling_splits(folder), *apart_from])
        bind_plan(folder, plan, scratch)
        target = Target(folder, scratch, plan.fingerprint, plan.points, plan.options)
        _pack_shards(shards, target, workers, subject_model, progress, on_shard)
    return progress


def _merge(earlier: Sequence[SourceRow], rows: Sequence[SourceRow]) -> list[SourceRow]:
    """The newer row of every input, in the order of names."""
    merged = {row.name: row for row in (*earlier, *rows)}
    return [merged[name] for name in sorted(merged)]


def _check_failures(outcome: Outcome, max_fail: float) -> None:
    bad, total = outcome.bad, len(outcome.sources)
    first = "; ".join(f"{row.name}: {row.reason}" for row in bad[:3])
    if not outcome.manifest.frames:
        raise DataError(f"Not one frame of {total} inputs could be stored ({first}).")
    if len(bad) > max_fail * total:
        raise DataError(
            f"{len(bad)} of {total} inputs failed, more than the {max_fail:.0%} that are allowed ({first}). "
            "Mend them, or allow more with --max-fail and run again: what is packed is kept."
        )


def _pack_shards(
    shards: Sequence[ShardPlan],
    target: Target,
    workers: int,
    subject_model: str,
    progress: Progress,
    on_shard: Callable[[Progress], None],
) -> tuple[Shard, ...]:
    """Every one of `shards`, in their order; those that an earlier run committed are taken as they are."""
    planned = {shard.name: shard.frames for shard in shards}
    found = ((shard.name, finished_shard(shard, target.folder, target.plan)) for shard in shards)
    records = {name: record for name, record in found if record is not None}
    for record in records.values():
        progress.add(record, planned[record.name])
    progress.begin()
    chains = _build_chains([shard for shard in shards if shard.name not in records], workers)
    run = _run_here if workers == 1 or len(chains) <= 1 else _run_in_processes
    for packed in run(chains, target, subject_model, workers):
        records[packed.record.name] = packed.record
        progress.add(packed.record, planned[packed.record.name])
        progress.problems += packed.problems
        on_shard(progress)
    return tuple(records[shard.name] for shard in shards)


def _build_chains(shards: Sequence[ShardPlan], workers: int) -> list[list[ShardPlan]]:
    """Neighbours that share a video, in one chain unless that would leave workers idle; longest first."""
    longest = -(-len(shards) // workers) if shards else 0
    chains: list[list[ShardPlan]] = []
    for shard in shards:
        last = chains[-1] if chains else []
        if last and len(last) < longest and _shares_video(last[-1], shard):
            last.append(shard)
        else:
            chains.append([shard])
    return sorted(chains, key=lambda chain: -sum(shard.frames for shard in chain))


def _shares_video(shard: ShardPlan, following: ShardPlan) -> bool:
    return shard.pieces[-1].source.name == following.pieces[0].source.name


def _run_here(
    chains: list[list[ShardPlan]], target: Target, subject_model: str, workers: int
) -> Iterator[Packed]:
    work = Work(target, subject_model, _decoder_threads(1))
    for chain in chains:
        for shard in chain:
            yield work.pack(shard)
    work.decoder.close()


def _run_in_processes(
    chains: list[list[ShardPlan]], target: Target, subject_model: str, workers: int
) -> Iterator[Packed]:
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would copy the locks of threads that it does not copy
    arguments = (target, subject_model, _decoder_threads(workers), os.getpid())
    pool = ProcessPoolExecutor(min(workers, len(chains)), context, _start_worker, arguments)
    try:
        futures: list[Future[list[Packed]]] = [pool.submit(_pack_chain, chain) for chain in chains]
        for future in as_completed(futures):
            yield from future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "A packing process died, most likely for want of memory. Run the same command with fewer --workers; "
            "what is packed is kept."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
            process.join()


def _decoder_threads(workers: int) -> int:
    return max(1, cv2.getNumberOfCPUs() // workers)


class Work:
    """What one process keeps from shard to shard."""

    def __init__(self, target: Target, subject_model: str, threads: int) -> None:
        self.target = target
        self.decoder = Decoder(threads)
        self.detect: Detector | None = load_detector(subject_model) if subject_model else None

    def pack(self, shard: ShardPlan) -> Packed:
        return pack_shard(shard, self.target, self.decoder, self.detect)


_work: Work | None = None  # of this process, when it is a worker


def _start_worker(target: Target, subject_model: str, threads: int, parent: int) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent was interrupted too and ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    share_lock(target.scratch, target.folder)
    cv2.setNumThreads(1)
    _work = Work(target, subject_model, threads)


def _end_with(parent: int) -> None:
    """A worker whose parent was killed has nobody to work for."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN_POLL_S)
    os._exit(1)


def _pack_chain(chain: list[ShardPlan]) -> list[Packed]:
    assert _work is not None
    return [_work.pack(shard) for shard in chain]
