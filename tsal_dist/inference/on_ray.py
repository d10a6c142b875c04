"""Inputs looked at on a Ray cluster: each is a task, whose rows are kept beside the table."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tsal_dist.dist.ray_tasks import count_resource, run_tasks
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.detector import Detector, Options
from tsal_dist.inference.kept_rows import KeptRows
from tsal_dist.inference.opening import Opening, describe_looks
from tsal_dist.inference.pictures import Source


@dataclass(frozen=True)
class _Work:
    """What every task is told."""

    opening: Opening
    options: Options
    table: Path


def look_on_ray(
    opening: Opening,
    options: Options,
    table: Path,
    sources: Sequence[Source],
    on_source: Callable[[int], None] = lambda done: None,
) -> None:
    """Keep the rows of all `sources`, one GPU for each task where the cluster has GPUs, else the detector's threads."""
    gpus = 1 if count_resource("GPU") else 0
    threads = max(1, opening.threads)  # not whichever is faster: others work beside it
    work = _Work(replace(opening, threads=threads), options, table)
    for done, _ in enumerate(run_tasks(_look, work, sources, threads, gpus), start=1):
        on_source(done)


_opened: tuple[Detector, str] | None = None  # of this process, which Ray gives to one command alone


def _look(work: _Work, source: Source) -> None:
    global _opened
    if _opened is None:
        detector = work.opening.open()
        _opened = detector, work.opening.identify(detector)
    detector, digest = _opened
    looks = describe_looks(digest, work.options, [source])
    kept = KeptRows(work.table, looks, detector.eyes.layout)
    if not kept.holds(source):  # a task that was lost as it ended
        with suppress(ConfigError, DataError):  # kept with why
            kept.find(source, lambda source: detector.look_at(source, work.options))
