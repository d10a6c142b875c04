"""Predicted landmarks as a table that pandas, Polars or a spreadsheet opens, and the packer takes for labels.

One row per frame and subject: `path` (from the table's folder), `frame` (from 1, empty for an image), `pts_ms`, `subject`
(its number in the video, from 1; empty where one is followed), `found`, `presence`, the box `x1 y1 x2 y2`, then for each
point `p0x p0y p0v p0error p0score`: pixels of the frame, 1 or 0 for good enough to be a label or not, the expected error in
pixels, the height of the peak. Where points have names they stand in the place of `p0`: `nose_x nose_y nose_v nose_error
nose_score`. A frame without a subject has one row and no numbers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tsal_dist.inference.overlay import MOST_ERROR, shown_points
from tsal_dist.inference.prediction import Found
from tsal_dist.outputs import written_whole

ENDINGS = (".parquet", ".csv")
GROUP_ROWS = 1 << 16
"""Of a parquet file's row groups, each of which is in memory at once."""


def build_table(rows: Sequence[Found], folder: Path, most_error: float = MOST_ERROR) -> pa.Table:
    """The table, its paths counted from `folder`."""
    found_N = np.array([row.found for row in rows])
    told = {path: _told_path(path, folder) for path in {row.path for row in rows}}
    columns: dict[str, Any] = {
        "path": [told[row.path] for row in rows],
        "frame": pa.array([None if row.frame is None else row.frame + 1 for row in rows], pa.int32()),
        "pts_ms": np.array([row.pts_ms for row in rows]),
        "subject": pa.array([row.subject or None for row in rows], pa.int32()),
        "found": found_N.astype(np.int8),
        "presence": _numbers(np.array([row.presence for row in rows]), np.ones(len(rows), np.bool_)),
    }
    box_N4 = np.stack([row.box_4 for row in rows])
    for place, name in enumerate(("x1", "y1", "x2", "y2")):
        columns[name] = _numbers(box_N4[:, place], found_N, pa.float64())
    points_NK2 = np.stack([row.points_K2 for row in rows])
    error_NK = np.stack([row.expected_px_K for row in rows])
    score_NK = np.stack([row.score_K for row in rows])
    label_NK = np.stack([shown_points(row, most_error) for row in rows])
    names = rows[0].layout.names
    for point in range(points_NK2.shape[1]):
        called = f"{names[point]}_" if names else f"p{point}"
        columns[f"{called}x"] = _numbers(points_NK2[:, point, 0], found_N)
        columns[f"{called}y"] = _numbers(points_NK2[:, point, 1], found_N)
        columns[f"{called}v"] = _numbers(label_NK[:, point], found_N, pa.int8())
        columns[f"{called}error"] = _numbers(error_NK[:, point], found_N)
        columns[f"{called}score"] = _numbers(score_NK[:, point], found_N)
    return pa.table(columns)


@contextmanager
def open_table(path: Path, most_error: float = MOST_ERROR) -> Iterator[Callable[[Sequence[Found]], None]]:
    """A .parquet or .csv, by the path's ending, that takes the rows of one input after another, so that they need not all
    be in memory. The file is there when the block ends well; how the rows were handed over changes no byte of it."""
    kind = _Csv if path.suffix.lower() == ".csv" else _Parquet
    with written_whole(path) as aside:
        file = kind(aside)
        try:
            yield lambda rows: file.add(build_table(rows, path.parent, most_error))
            file.finish()
        finally:
            file.close()


def write_table(path: Path, rows: Sequence[Found], most_error: float = MOST_ERROR) -> None:
    """All of it at once."""
    with open_table(path, most_error) as add:
        add(rows)


class _Csv:
    """Rows as lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pyarrow.csv.CSVWriter | None = None

    def add(self, table: pa.Table) -> None:
        self._writer = self._writer or pyarrow.csv.CSVWriter(self._path, table.schema)
        self._writer.write_table(table)

    def finish(self) -> None:
        """All lines are written as they come."""

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class _Parquet:
    """Rows in groups of GROUP_ROWS, wherever one input ends and the next begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._write(GROUP_ROWS)

    def finish(self) -> None:
        """The last group, however small."""
        if self._waiting:
            self._write(1)

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _write(self, fewest: int) -> None:
        """Whole groups, and a last one that has at least `fewest` rows."""
        joined = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        self._writer = self._writer or pyarrow.parquet.ParquetWriter(self._path, joined.schema)
        for first in range(0, len(joined), GROUP_ROWS):
            group = joined.slice(first, GROUP_ROWS)
            if len(group) >= fewest:
                self._writer.write_table(group, row_group_size=GROUP_ROWS)
            else:
                self._waiting = [group]


def _numbers(value_N: Any, known_N: Any, kind: pa.DataType | None = None) -> "pa.Array[Any]":
    """A column whose unknown numbers are empty, as those of frames without a subject."""
    value_N = np.asarray(value_N, np.float64)
    return pa.array(value_N, pa.float64(), mask=~known_N | np.isnan(value_N)).cast(kind or pa.float32())


def _told_path(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix() if os.path.exists(path) else path
