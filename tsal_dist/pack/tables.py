"""Annotations with named fields: COCO keypoints JSON, and CSV with a header.

A CSV names its columns: `path`, optionally `frame` (from 1), a box as `x1,y1,x2,y2` or, converted by name, as
`x,y,w,h`, optionally `face_px`, and optionally landmarks `p0x,p0y[,p0v],p1x,...` whose visibility is 0 (no
place), 1 (visible) or 2 (hidden). Without landmarks it is a list of boxes. COCO's `bbox` is x y width height by
its specification and is converted; its visibility 1 is hidden and 2 visible.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import HIDDEN, Box, Entry, Face, build_face, check_box

_COCO_VISIBILITY = np.array([0, HIDDEN, 1], np.uint8)


def read_csv(path: Path, root: Path) -> list[Entry]:
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            columns = tuple(reader.fieldnames or ())
            _check_columns(path, columns)
            points = sum(name[:1] == "p" and name[1:-1].isdigit() and name[-1] == "x" for name in columns)
            return [_csv_entry(path, reader.line_num, row, root, points) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}.") from error


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    has_box = {"x1", "y1", "x2", "y2"} <= set(columns) or {"x", "y", "w", "h"} <= set(columns)
    has_points = {"p0x", "p0y"} <= set(columns)
    if "path" not in columns or not (has_box or has_points):
        raise ConfigError(
            f"{path} has the columns {', '.join(columns) or '(none)'}. The first line must name path and a box, "
            "x1,y1,x2,y2 or x,y,w,h, or landmarks p0x,p0y,...; how a box is meant is never guessed."
        )


def _csv_entry(path: Path, line: int, row: Mapping[str, str], root: Path, points: int) -> Entry:
    try:
        frame = int(row["frame"]) - 1 if row.get("frame") else None
        if frame is not None and frame < 0:
            raise DataError("frames are counted from 1")
        box = _csv_box(row)
        face_px = float(row["face_px"]) if row.get("face_px") else None
        face = Face(box=box, face_px=face_px)
        if points and row["p0x"]:
            points_K2 = np.array([(row[f"p{k}x"], row[f"p{k}y"]) for k in range(points)], np.float32)
            visible_K = np.array([row.get(f"p{k}v") or 1 for k in range(points)], np.uint8)
            face = build_face(points_K2, visible_K, box, face_px)
    except (ValueError, KeyError, TypeError, DataError) as error:
        raise ConfigError(f"{path}, line {line}: {error}.") from error
    return Entry(str(root / row["path"]), frame, face)


def _csv_box(row: Mapping[str, str]) -> Box | None:
    if row.get("x1"):
        x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
        return check_box((x1, y1, x2, y2))
    if row.get("w"):
        return box_from_xywh(*(float(row[name]) for name in ("x", "y", "w", "h")))
    return None


def box_from_xywh(x: float, y: float, w: float, h: float) -> Box:
    return check_box((x, y, x + w, y + h))


def read_coco(path: Path, root: Path) -> list[Entry]:
    """Every annotation with placed keypoints or a box; crowds are left out."""
    try:
        page = json.loads(path.read_text())
        files = {image["id"]: image["file_name"] for image in page["images"]}
        faces = [one for one in page["annotations"] if not one.get("iscrowd")]
        return [_coco_entry(one, root / files[one["image_id"]]) for one in faces]
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        raise ConfigError(f"{path} is not a COCO keypoints file: {type(error).__name__}: {error}.") from error


def _coco_entry(annotation: Mapping[str, Any], image: Path) -> Entry:
    try:
        box = box_from_xywh(*annotation["bbox"]) if annotation.get("bbox") else None
    except DataError as error:
        return Entry(str(image), None, Face(), str(error))
    triples_K3 = np.array(annotation.get("keypoints", ()), np.float32).reshape(-1, 3)
    visible_K = _COCO_VISIBILITY[triples_K3[:, 2].astype(int)]
    if not visible_K.any():
        return Entry(str(image), None, Face(box=box))
    return Entry(str(image), None, build_face(triples_K3[:, :2], visible_K, box))
