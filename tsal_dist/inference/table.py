"""Predicted landmarks as a table that pandas, Polars or a spreadsheet opens: one row per frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray


class Row(Protocol):
    """One frame's landmarks."""

    @property
    def path(self) -> str: ...
    @property
    def frame(self) -> int: ...
    @property
    def pts_ms(self) -> float: ...
    @property
    def box_4(self) -> NDArray[Any]: ...
    @property
    def points_K2(self) -> NDArray[Any]: ...
    @property
    def score_K(self) -> NDArray[Any]: ...


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Columns path, frame (from 0), pts_ms, x1 y1 x2 y2, then x0 y0 score0 x1 ... ; pixels of the frame."""
    box_N4 = np.stack([row.box_4 for row in rows])
    points_NK2 = np.stack([row.points_K2 for row in rows])
    score_NK = np.stack([row.score_K for row in rows])
    columns: dict[str, Any] = {
        "path": [row.path for row in rows],
        "frame": np.array([row.frame for row in rows], np.int32),
        "pts_ms": np.array([row.pts_ms for row in rows]),
    }
    columns |= {f"box_{name}": box_N4[:, place] for place, name in enumerate(("x1", "y1", "x2", "y2"))}
    for point in range(points_NK2.shape[1]):
        columns[f"x{point}"] = points_NK2[:, point, 0].astype(np.float32)
        columns[f"y{point}"] = points_NK2[:, point, 1].astype(np.float32)
        columns[f"score{point}"] = score_NK[:, point].astype(np.float32)
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
