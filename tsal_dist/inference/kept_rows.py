"""What was found on each input, kept beside the table until that is written: a command that was cut short goes on, and
machines share the work.

<table>.parts/<name>-<digest of its path>.parquet    the rows of one input as they were found, not yet smoothed

A part says in its metadata what it was found by: the input's content, the detector, what was asked of it. One that says
anything else than would be found now is found again. An input that cannot be read has a part as well, without rows.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.pictures import Source
from tsal_dist.inference.prediction import Found
from tsal_dist.json_object import read_object
from tsal_dist.outputs import written_whole
from tsal_dist.pack.content import content_digest
from tsal_dist.records import Layout
from tsal_dist.run_dir import shorten_name

log = logging.getLogger(__name__)

NOTE = b"tsal_dist"
MOST_NAME = 80
"""Bytes of an input's name that its part repeats."""
DAMAGED = (pa.ArrowException, OSError, ValueError)
Note = dict[str, Any]


def parts_folder(table: Path) -> Path:
    """Where the parts of a table are."""
    return table.with_name(f"{table.name}.parts")


class KeptRows:
    """The parts of one table, for one detector and one way to ask it."""

    def __init__(self, table: Path, by: Mapping[str, Mapping[str, str]], layout: Layout) -> None:
        """`by`: of each source's path, what its rows follow from beside its content."""
        self._table, self._by, self._layout = table, by, layout
        parts_folder(table).mkdir(parents=True, exist_ok=True)

    def holds(self, source: Source) -> bool:
        """Whether what is kept of it is what would be found now."""
        place, wanted = self._place(source), self._note(source)
        try:
            kept = _read_note(place)
        except FileNotFoundError:
            return False
        except DAMAGED as error:
            log.warning("%s is damaged (%s); %s is looked at again.", place, error, source.path)
            return False
        changed = [key for key, value in wanted.items() if kept.get(key) != value]
        if changed:
            log.warning(
                "%s: another %s than when it was looked at; that is done again.", source.path, changed[0]
            )
        return not changed and not kept["unread"]

    def load(self, source: Source) -> list[Found] | None:
        """Its rows; None where it must be looked at."""
        if not self.holds(source):
            return None
        try:
            table = pq.read_table(self._place(source), page_checksum_verification=True)
            return _rows(table, source, self._layout)
        except DAMAGED as error:
            log.warning("%s is damaged (%s); it is looked at again.", self._place(source), error)
            return None

    def find(self, source: Source, look: Callable[[Source], list[Found]]) -> list[Found]:
        """What `look` finds, and keep it; where it cannot read the source, keep why."""
        note = self._note(source)  # before: a file that changes meanwhile is not what these rows are of
        try:
            rows = look(source)
        except (ConfigError, DataError) as error:
            self._save(source, [], {**note, "unread": str(error)})
            raise
        self._save(source, rows, note)
        return rows

    def are_complete(self, sources: Sequence[Source]) -> bool:
        """Whether every input was looked at by this detector, so that nobody else is still at work. Contents are not
        compared: whoever writes the table does that."""
        return all(self._was_seen(source) for source in sources)

    def _was_seen(self, source: Source) -> bool:
        try:
            return self._by[source.path].items() <= _read_note(self._place(source)).items()
        except DAMAGED:
            return False

    def _save(self, source: Source, rows: Sequence[Found], note: Note) -> None:
        """Whole or not at all."""
        table = _columns(rows).replace_schema_metadata({NOTE: json.dumps(note, sort_keys=True)})
        with written_whole(self._place(source)) as aside:
            pq.write_table(table, aside, compression="zstd", write_page_checksum=True)

    def _note(self, source: Source) -> Note:
        try:
            content = content_digest([source.path])
        except OSError as error:
            content = f"unreadable: {error.strerror}"
        return {"content": content, **self._by[source.path]}

    def _place(self, source: Source) -> Path:
        told = Path(os.path.relpath(source.path, self._table.parent)).as_posix()
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        begin = shorten_name(Path(source.path).stem, MOST_NAME)
        return parts_folder(self._table) / f"{begin}-{digest}.parquet"


def _read_note(place: Path) -> Note:
    metadata = pq.read_schema(place).metadata or {}
    return {"unread": "", **read_object(metadata.get(NOTE, b"{}"))}


def _columns(rows: Sequence[Found]) -> pa.Table:
    """Every number as it is in memory."""
    count = len(rows)
    points = rows[0].points_K2.size if rows else 0
    widths = {"box": 4, "points": points, "score": points // 2, "expected_px": points // 2}
    arrays = {
        "box": [row.box_4 for row in rows],
        "points": [row.points_K2.ravel() for row in rows],
        "score": [row.score_K for row in rows],
        "expected_px": [row.expected_px_K for row in rows],
    }
    columns: dict[str, Any] = {
        "frame": pa.array([row.frame for row in rows], pa.int64()),
        "pts_ms": pa.array([row.pts_ms for row in rows], pa.float64()),
        "presence": pa.array([row.presence for row in rows], pa.float64()),
        "found": pa.array([row.found for row in rows], pa.bool_()),
        "subject": pa.array([row.subject for row in rows], pa.int32()),
    }
    for name, width in widths.items():
        flat = np.concatenate(arrays[name]).astype(np.float64) if count else np.empty(0)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), width or 1)
    return pa.table(columns)


def _rows(table: pa.Table, source: Source, layout: Layout) -> list[Found]:
    box_N4, points_N2K, score_NK, expected_NK = (
        _matrix(table[name]) for name in ("box", "points", "score", "expected_px")
    )
    told = table.select(["frame", "pts_ms", "presence", "found", "subject"]).to_pylist()
    return [
        Found(
            path=source.path,
            box_4=box_N4[place],
            points_K2=points_N2K[place].reshape(-1, 2),
            score_K=score_NK[place],
            expected_px_K=expected_NK[place],
            layout=layout,
            **row,
        )
        for place, row in enumerate(told)
    ]


def _matrix(column: "pa.ChunkedArray[Any]") -> Any:
    joined: Any = column.combine_chunks()
    return np.array(joined.flatten()).reshape(len(column), -1)
