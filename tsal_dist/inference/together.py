"""Inputs that several processes look at, and the one that writes what all of them found.

What is found is kept beside the table (`kept_rows`). The machines of --machine each look at their part and leave the table to
the same command without it; of the ranks of one torchrun the last writes it; with --ray the command that was given.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.clock import format_time
from tsal_dist.dist.environment import read_environment
from tsal_dist.dist.ray_cluster import join_ray
from tsal_dist.dist.share import Share
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference import on_ray
from tsal_dist.inference.detector import Detector, Options, draw_rows, smooth_rows
from tsal_dist.inference.kept_rows import KeptRows, parts_folder
from tsal_dist.inference.opening import Opening, describe_looks
from tsal_dist.inference.pictures import Source
from tsal_dist.inference.prediction import Found
from tsal_dist.inference.watch import watch


@dataclass(frozen=True)
class Together:
    """Who does what."""

    table: str | None
    share: Share | None = None
    """What this process looks at, if it is one of several."""
    ranked: bool = False
    """The others are ranks of the same torchrun."""
    ray: str = ""
    """The address of a cluster that looks at everything."""


def plan_together(
    table: str | None, machine: Share | None, ray: str | None, sources: Sequence[Source]
) -> Together:
    """As the command line and torchrun have it. ConfigError where that cannot be."""
    seat = read_environment()
    flag = "--machine" if machine else "--ray" if ray else ""
    if flag and seat.world > 1:
        raise ConfigError(
            f"{flag} was given to {seat.world} processes of torchrun, which share the inputs by themselves. Leave one of "
            f"them out."
        )
    flag = flag or ("torchrun" if seat.world > 1 else "")
    if flag and not table:
        raise ConfigError(f"{flag} needs a table: what is found is kept beside it. Name one (--table).")
    live = next((source.path for source in sources if source.kind == "live"), None)
    if flag and live is not None:
        raise ConfigError(
            f"{flag} shares files out, which the camera or stream {live} is not. Leave one of them out."
        )
    share = Share(seat.rank + 1, seat.world) if seat.world > 1 else machine
    return Together(table, share, seat.world > 1, ray or "")


def open_kept(
    plan: Together, opening: Opening, detector: Detector, options: Options, sources: Sequence[Source]
) -> KeptRows | None:
    """Where rows are kept: for those who share the work, and for whoever comes after them. What a camera sees is not kept."""
    if not plan.table or any(source.kind == "live" for source in sources):
        return None
    if not (plan.share or plan.ray or parts_folder(Path(plan.table)).is_dir()):
        return None
    looks = describe_looks(opening.identify(detector), options, sources)
    return KeptRows(Path(plan.table), looks, detector.eyes.layout)


def look_on_ray(
    plan: Together,
    opening: Opening,
    options: Options,
    kept: KeptRows,
    sources: Sequence[Source],
    tell: Callable[[str], None],
) -> None:
    """Have a cluster look at what is not kept, and tell how far it is."""
    assert plan.table
    left = [source for source in sources if not kept.holds(source)]
    if not left:
        return

    with join_ray(plan.ray, "--ray", "Predicting on a Ray cluster"):
        started_s = time.monotonic()

        def on_source(done: int) -> None:
            left_s = (time.monotonic() - started_s) / done * (len(left) - done)
            tell(f"{done}/{len(left)} inputs, {format_time(left_s)} left")

        on_ray.look_on_ray(opening, options, Path(plan.table), left, on_source)


def look_at_share(
    plan: Together, detector: Detector, options: Options, kept: KeptRows, sources: Sequence[Source]
) -> str:
    """Look at this process's part. What there is to say when others write the table; "" when this process is to."""
    assert plan.share
    # Where nothing is left to look at, all ranks would write.
    all_there = plan.ranked and plan.share.number > 1 and kept.are_complete(sources)
    mine = plan.share.choose(sources)
    unread = 0
    for source in mine:
        if not kept.holds(source):
            try:
                kept.find(source, lambda source: watch(detector, source, options, None))
            except (ConfigError, DataError):
                unread += 1  # whoever writes the table says why
    if plan.ranked and not all_there and kept.are_complete(sources):
        return ""
    text = f"part {plan.share.number} of {plan.share.of}: {len(mine) - unread} of its {len(mine)} inputs were looked at."
    if plan.ranked:
        return f"{text} The last process to end writes {plan.table}."
    return f"{text} When all parts are done, the same command without --machine writes {plan.table}."


def read_source(
    detector: Detector,
    source: Source,
    options: Options,
    overlays: Mapping[str, Path | None],
    kept: KeptRows | None,
) -> list[Found]:
    """Its rows, as they were kept or as they are found now; and its overlay, where one was asked for."""
    overlay = overlays[source.path]
    rows = kept.load(source) if kept else None
    late = bool(options.smooth) or rows is not None  # else it is drawn while it is looked at

    def look(source: Source) -> list[Found]:
        return watch(detector, source, options, None if late else overlay)

    if rows is None:
        rows = kept.find(source, look) if kept else look(source)
    rows = smooth_rows(rows, options.smooth)
    if overlay and late:
        draw_rows(overlay, source, rows, options)
    return rows
