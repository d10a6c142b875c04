"""Predicted landmarks as a table that pandas, Polars or a spreadsheet opens, and the packer takes for labels.

One row per frame and subject: `path` (from the table's folder), `frame` (from 1, empty for an image), `pts_ms`, `subject`
(its number in the video, from 1; empty where one is followed), `found`, `presence`, the box `x1 y1 x2 y2`, then for each
point `p0x p0y p0v p0error p0score`: pixels of the frame, 1 or 0 for good enough to be a label or not, the expected error in
pixels, the height of the peak. Where points have names they stand in the place of `p0`: `nose_x nose_y nose_v nose_error
nose_score`. A frame without a subject has one row and no numbers.
"""

import os
from collections.abc import Sequence
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


def write_table(path: Path, rows: Sequence[Found], most_error: float = MOST_ERROR) -> None:
    """Write it as .parquet or .csv, by the path's ending."""
    table = build_table(rows, path.parent, most_error)
    with written_whole(path) as aside:
        if path.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(table, aside)
        else:
            pyarrow.parquet.write_table(table, aside)


def _numbers(value_N: Any, known_N: Any, kind: pa.DataType | None = None) -> "pa.Array[Any]":
    """A column whose unknown numbers are empty, as those of frames without a subject."""
    value_N = np.asarray(value_N, np.float64)
    return pa.array(value_N, pa.float64(), mask=~known_N | np.isnan(value_N)).cast(kind or pa.float32())


def _told_path(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix() if os.path.exists(path) else path
