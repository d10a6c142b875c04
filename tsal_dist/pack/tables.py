"""Annotations with named fields: COCO keypoints JSON, and CSV with a header.

A CSV names its columns: `path`, optionally `frame` (from 1), a box as `x1,y1,x2,y2` or, converted by name, as
`x,y,w,h`, optionally `face_px`, and optionally landmarks `p0x,p0y[,p0v],p1x,...` whose visibility is 0 (no
place), 1 (visible) or 2 (hidden). Without landmarks it is a list of boxes. Rows whose
column `found` is 0, as `tsal_dist.predict` writes them, are left out. COCO's `bbox` is x y width height by
its specification and is converted; its visibility 1 is hidden and 2 visible.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.json_object import read_object
from tsal_dist.pack.face import (
    HIDDEN,
    Box,
    Entry,
    Face,
    build_face,
    check_box,
    check_path,
    parse_frame,
    parse_number,
    parse_size,
)

_COCO_VISIBILITY = np.array([0, HIDDEN, 1], np.uint8)


def read_csv(path: Path, root: Path) -> list[Entry]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            rows = ((reader.line_num, row) for row in reader)
            return _entries(path, tuple(reader.fieldnames or ()), rows, root)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}.") from error


def read_parquet(path: Path, root: Path) -> list[Entry]:
    """The same columns in parquet."""
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} cannot be read as parquet: {error}.") from error
    rows = (
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    )
    return _entries(path, tuple(table.column_names), enumerate(rows, 1), root)


def _entries(
    path: Path, columns: tuple[str, ...], rows: Iterable[tuple[int, Mapping[str, str]]], root: Path
) -> list[Entry]:
    """Rows that `predict` wrote of frames without a subject name none."""
    _check_columns(path, columns)
    points = sum(name[:1] == "p" and name[1:-1].isdigit() and name[-1] == "x" for name in columns)
    entries = [_csv_entry(path, line, row, root, points) for line, row in rows if row.get("found") != "0"]
    if not entries:
        raise ConfigError(f"{path} names no frame with a subject. Give a table with a row for each.")
    return entries


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    has_box = {"x1", "y1", "x2", "y2"} <= set(columns) or {"x", "y", "w", "h"} <= set(columns)
    has_points = {"p0x", "p0y"} <= set(columns)
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{path} names a column twice in {', '.join(columns)}. Leave one of them out.")
    if "path" not in columns or not (has_box or has_points):
        raise ConfigError(
            f"{path} has the columns {', '.join(columns) or '(none)'}. The first line must name path and a box, "
            "x1,y1,x2,y2 or x,y,w,h, or landmarks p0x,p0y,...; how a box is meant is never guessed."
        )


def _csv_entry(path: Path, line: int, row: Mapping[str, str], root: Path, points: int) -> Entry:
    try:
        if None in row or None in row.values():
            raise DataError("it has not as many fields as the first line")
        file = str(root / check_path(row["path"]))
        frame = parse_frame(row["frame"]) if row.get("frame") else None
        box = _csv_box(row)
        face_px = parse_size(row["face_px"]) if row.get("face_px") else None
        face = Face(box=box, face_px=face_px)
        if points and row["p0x"]:
            points_K2 = np.array([[parse_number(row[f"p{k}{axis}"]) for axis in "xy"] for k in range(points)])
            visible_K = np.array([int(row.get(f"p{k}v") or 1) for k in range(points)])
            face = build_face(points_K2, visible_K, box, face_px)
    except KeyError as error:
        raise ConfigError(f"{path}, line {line}: there is no column {error}.") from error
    except (ValueError, OverflowError, DataError) as error:
        raise ConfigError(f"{path}, line {line}: {error}.") from error
    return Entry(file, frame, face)


def _csv_box(row: Mapping[str, str]) -> Box | None:
    if row.get("x1"):
        x1, y1, x2, y2 = (parse_number(row[name]) for name in ("x1", "y1", "x2", "y2"))
        return check_box((x1, y1, x2, y2))
    if row.get("w"):
        return box_from_xywh(*(parse_number(row[name]) for name in ("x", "y", "w", "h")))
    return None


def box_from_xywh(x: float, y: float, w: float, h: float) -> Box:
    return check_box((x, y, x + w, y + h))


def read_coco(path: Path, root: Path) -> list[Entry]:
    """Every annotation with placed keypoints or a box; crowds are left out."""
    try:
        page = read_object(path.read_bytes())
        files = {image["id"]: image["file_name"] for image in page["images"]}
        faces = [one for one in page["annotations"] if not one.get("iscrowd")]
        entries = [_coco_entry(one, root / check_path(files[one["image_id"]])) for one in faces]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, DataError) as error:
        raise ConfigError(f"{path} is not a COCO keypoints file: {type(error).__name__}: {error}.") from error
    if not entries:
        raise ConfigError(f"{path} names no face that could be used: it has no annotation but of crowds.")
    return entries


def _coco_entry(annotation: Mapping[str, Any], image: Path) -> Entry:
    try:
        box = box_from_xywh(*annotation["bbox"]) if annotation.get("bbox") else None
    except DataError as error:
        return Entry(str(image), None, Face(), str(error))
    triples_K3 = np.array(annotation.get("keypoints", ()), np.float64).reshape(-1, 3)
    if not np.isin(triples_K3[:, 2], (0, 1, 2)).all():
        raise DataError("a visibility is none of 0 (not labelled), 1 (hidden) and 2 (visible)")
    visible_K = _COCO_VISIBILITY[triples_K3[:, 2].astype(int)]
    if not visible_K.any():
        return Entry(str(image), None, Face(box=box))
    return Entry(str(image), None, build_face(triples_K3[:, :2], visible_K, box))
