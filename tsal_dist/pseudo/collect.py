"""Garbage collection: segments that no checkpoint of any group needs any more.

WATERMARK.json names per producer the first segment that still exists, and is raised before anything is deleted, so that
a reader with an old cursor can tell collected segments from lost ones. A group that looks dead keeps its segments: it
may resume from its checkpoint next week. Whoever knows better says so by deleting its cursor. One collector at a time:
the run's own planner while it lives, the command line when it does not.
"""

import logging

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import NameAbsent, Store
from tsal_dist.json_object import write_sealed
from tsal_dist.pseudo.cursor import load_cursors, read_counts
from tsal_dist.pseudo.log import Kind, LogReader, Record, read_log
from tsal_dist.pseudo.topic import list_producers, parse_json, segment_name, split_producer

log = logging.getLogger(__name__)

WATERMARK = "WATERMARK.json"


def load_watermark(store: Store) -> dict[str, int]:
    """First living segment per producer."""
    try:
        return read_counts(parse_json(store, WATERMARK), store, WATERMARK)
    except NameAbsent:
        return {}


def collect_garbage(store: Store, *, keep_bytes: int = 0, dry_run: bool = False) -> int:
    """Delete segments below every group's committed floor; returns how many. Costs little where no floor moved.

    Of those, `keep_bytes` stay: the ones with the newest labels.
    """
    before = _known_watermark(store)
    floors = [cursor.floor for cursor in load_cursors(store).values()]
    if not floors:
        return 0
    shared = set.intersection(*(set(floor) for floor in floors))
    after = before | {
        name: max(before.get(name, 0), min(floor[name] for floor in floors)) for name in sorted(shared)
    }
    if keep_bytes:
        after = _spare(store, before, after, keep_bytes)
    gone = [
        segment_name(name, seq) for name, floor in after.items() for seq in range(before.get(name, 0), floor)
    ]
    if gone and not dry_run:
        store.replace(WATERMARK, write_sealed(after))
        for name in gone:
            store.delete(name)
    return len(gone)


def _known_watermark(store: Store) -> dict[str, int]:
    """The watermark; nothing where it cannot be read, so that all of it is collected again."""
    try:
        return load_watermark(store)
    except ExchangeError as error:
        log.warning("collecting from the beginning again: %s", error)
        return {}


def _spare(store: Store, before: dict[str, int], floors: dict[str, int], keep_bytes: int) -> dict[str, int]:
    """Lower floors, so that segments of at most `keep_bytes` lie between them and `floors`; labels of old weights go first."""
    spared: list[tuple[int, str, int, int]] = []
    for name, floor in floors.items():
        first = before.get(name, 0)
        try:
            records = LogReader(store, name, first).read_to(floor) if floor > first else []
        except ExchangeError as error:
            log.warning("nothing of %s is collected, its log cannot be read: %s", name, error)
            floors = {**floors, name: first}
            continue
        # Labels are made with ever newer weights, except where a student went back: what follows goes no earlier then.
        step = 0
        for record in records:
            if isinstance(record, Record) and record.kind is Kind.DATA:
                step = max(step, record.step)
                spared.append((step, name, record.seq, record.size))
    after = {name: before.get(name, 0) for name in floors}
    surplus = sum(size for *_, size in spared) - keep_bytes
    for _, name, seq, size in sorted(spared):
        if surplus <= 0:
            break
        after[name] = seq + 1
        surplus -= size
    return {**floors, **{name: min(first, floors[name]) for name, first in after.items()}}


def try_to_collect(store: Store, *, keep_bytes: int = 0) -> None:
    """`collect_garbage` where a failure may only cost room."""
    try:
        collect_garbage(store, keep_bytes=keep_bytes)
    except ExchangeError as error:
        log.warning("nothing is collected: %s", error)


def collect_orphans(store: Store, *, dry_run: bool = False) -> int:
    """Delete segments that a crash left: collected by record alone, or without a record. Returns how many. Lists folders,
    so it is not for a run.

    The latter only of producers that are gone for good, sealed or succeeded by a later incarnation: what a living one
    has written without a record may be committed in the next moment, and an age would need a clock that hosts share.
    """
    watermark = _known_watermark(store)
    names = list_producers(store)
    newest: dict[tuple[str, int], int] = {}
    for name in names:
        role, rank, incarnation = split_producer(name)
        newest[role, rank] = max(incarnation, newest.get((role, rank), 0))
    orphans: list[str] = []
    for name in names:
        role, rank, incarnation = split_producer(name)
        try:
            committed, sealed = read_commits(store, name)
        except ExchangeError as error:
            log.warning("%s cannot be read, so nothing of it is an orphan: %s", name, error)
            continue
        gone = sealed or incarnation < newest[role, rank]
        orphans += [
            segment_name(name, seq)
            for seq in list_segments(store, name)
            if seq < watermark.get(name, 0) or (gone and seq not in committed)
        ]
    if not dry_run:
        for name in orphans:
            store.delete(name)
    return len(orphans)


def read_commits(store: Store, producer: str) -> tuple[set[int], bool]:
    """The committed segments of a producer, and whether it sealed its log."""
    records = list(read_log(store, producer))
    seals = {record.seq for record in records if isinstance(record, Record) and record.kind is Kind.SEAL}
    # A hole was a commit once: never delete what it named.
    return {record.seq for record in records} - seals, bool(seals)


def list_segments(store: Store, producer: str) -> list[int]:
    """Segments that lie in the producer's folders, committed or not."""
    folder = f"p/{producer}/d"
    return [
        int(name.removesuffix(".parquet"))
        for block in store.children(folder)
        for name in store.children(f"{folder}/{block}")
        if name.endswith(".parquet")
    ]
