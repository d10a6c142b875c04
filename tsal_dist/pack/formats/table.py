"""The project's own label table: CSV with a header, one subject of one frame per line.

Columns: `path`, optionally `frame` (from 1) and `subject` (which of the video's it is, a name or number), a box as `x1,y1,x2,y2` or, converted by name, as `x,y,w,h`, optionally
`face_px`, and landmarks, either by name, `nose_x,nose_y[,nose_v],tail_x,...`, or by number, `p0x,p0y[,p0v],p1x,...`.
Visibility is 0 (no place), 1 (visible) or 2 (hidden); a landmark whose x and y are empty has no place. Without landmarks
it is a list of boxes. Parquet has the same columns.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import (
    Box,
    Entry,
    Face,
    build_face,
    check_box,
    check_subject,
    parse_frame,
    parse_number,
    parse_size,
    place_file,
)
from tsal_dist.records import Layout

Columns = Sequence[tuple[str, str, str]]
"""For each landmark the names of its columns for x, y and visibility."""

_READ = frozenset("path frame subject x1 y1 x2 y2 x y w h face_px".split())
"""Columns beside those of landmarks."""


def read_csv(path: Path, root: Path) -> list[Entry]:
    with _open_csv(path) as reader:
        header = tuple(reader.fieldnames or ())
        names, columns = landmark_columns(header)
        _check_columns(path, header, bool(columns))
        rows = ((reader.line_num, row) for row in reader if any(row.values()))
        return _entries(path, rows, root, columns, Layout(names))


def unread_columns(path: Path) -> list[str]:
    """Those that `read_csv` passes over: written again, the table would be without them."""
    with _open_csv(path) as reader:
        header = tuple(reader.fieldnames or ())
    _, columns = landmark_columns(header)
    known = {*_READ, *(name for names in columns for name in names)}
    return [name for name in header if name not in known]


@contextmanager
def _open_csv(path: Path) -> Iterator["csv.DictReader[str]"]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        mark = separator(text.partition("\n")[0])
        reader = csv.DictReader(io.StringIO(text), strict=True, skipinitialspace=True, delimiter=mark)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        yield reader
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} cannot be read as CSV: byte {error.start + 1} is not UTF-8. Save it as CSV in UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}.") from error


def separator(first_line: str) -> str:
    """What stands between two cells."""
    return ";" if ";" in first_line and "," not in first_line else ","  # spreadsheets of half of Europe


def read_parquet(path: Path, root: Path) -> list[Entry]:
    """The same columns in parquet."""
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} cannot be read as parquet: {error}.") from error
    names, columns = landmark_columns(table.column_names)
    _check_columns(path, tuple(table.column_names), bool(columns))
    rows = (
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    )
    return _entries(path, enumerate(rows, 1), root, columns, Layout(names))


def _entries(
    path: Path, rows: Iterable[tuple[int, Mapping[str, str]]], root: Path, columns: Columns, layout: Layout
) -> list[Entry]:
    """Rows that `predict` wrote of frames without a subject (`found` is 0) name none."""
    entries = [
        _entry(path, line, row, root, columns, layout) for line, row in rows if row.get("found") != "0"
    ]
    if not entries:
        raise ConfigError(f"{path} names no frame with a subject. Give a table with a row for each.")
    return entries


def landmark_columns(header: Sequence[str]) -> tuple[tuple[str, ...], Columns]:
    """The landmarks' names, () for mere numbers, and their columns."""
    numbers = sum(name[:1] == "p" and name[1:-1].isdigit() and name[-1] == "x" for name in header)
    if numbers:
        return (), [(f"p{k}x", f"p{k}y", f"p{k}v") for k in range(numbers)]
    known = set(header)
    names = tuple(name[:-2] for name in header if name.endswith("_x") and f"{name[:-2]}_y" in known)
    return names, [(f"{name}_x", f"{name}_y", f"{name}_v") for name in names]


def write_csv(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """What `read_csv` reads: paths as they are, places to a thousandth of a pixel."""
    path.write_text(csv_text(entries, points, layout), newline="", encoding="utf-8")


def csv_text(entries: Sequence[Entry], points: int, layout: Layout) -> str:
    """The whole table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table_rows(entries, points, layout))
    return text.getvalue()


def table_rows(entries: Sequence[Entry], points: int, layout: Layout) -> list[list[str]]:
    """Header and lines of the table."""
    if layout.names:
        header = [f"{name}_{part}" for name in layout.names for part in "xyv"]
    else:
        header = [f"p{k}{part}" for k in range(points) for part in "xyv"]
    several = any(entry.subject for entry in entries)
    sized = any(entry.face.face_px is not None for entry in entries)
    first = ["path", "frame", *(["subject"] if several else []), "x1", "y1", "x2", "y2"]
    rows = [[*first, *(["face_px"] if sized else []), *header]]
    for entry in entries:
        face = entry.face
        frame = "" if entry.frame is None else str(entry.frame + 1)
        box = [_spell(value) for value in face.box] if face.box else [""] * 4
        marks = [""] * (3 * points)
        if face.points_K2 is not None and face.visible_K is not None:
            for k, ((x, y), seen) in enumerate(
                zip(face.points_K2.tolist(), face.visible_K.tolist(), strict=True)
            ):
                marks[3 * k : 3 * k + 3] = [_spell(x), _spell(y), str(seen)] if seen else ["", "", "0"]
        size = [] if not sized else [""] if face.face_px is None else [_spell(face.face_px)]
        rows.append([entry.path, frame, *([entry.subject] if several else []), *box, *size, *marks])
    return rows


def _spell(value: float) -> str:
    return f"{round(value, 3):g}" if abs(value) < 1000 else f"{value:.3f}"


def _check_columns(path: Path, columns: tuple[str, ...], has_points: bool) -> None:
    has_box = {"x1", "y1", "x2", "y2"} <= set(columns) or {"x", "y", "w", "h"} <= set(columns)
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{path} names a column twice in {', '.join(columns)}. Leave one of them out.")
    alone = _without_partner(columns)
    if alone:
        raise ConfigError(
            f"{path} has the column {alone[0]!r} and no {alone[1]!r}, and a landmark needs both. Correct their names."
        )
    if "path" not in columns or not (has_box or has_points):
        shown = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise ConfigError(
            f"{path} has the columns {shown or '(none)'}. The first line must name path and a box, "
            "x1,y1,x2,y2 or x,y,w,h, or landmarks nose_x,nose_y,... or p0x,p0y,...; how a box is meant is never guessed."
        )


def _without_partner(columns: Sequence[str]) -> tuple[str, str] | None:
    """A column of a named landmark's x or y and the one that is missing; the landmark would be left out in silence."""
    known, other = set(columns), {"_x": "_y", "_y": "_x"}
    names, read = landmark_columns(columns)
    if read and not names:
        return None
    wanted = [(name, name[:-2] + other[name[-2:]]) for name in columns if name[-2:] in other]
    return next(((name, partner) for name, partner in wanted if partner not in known), None)


def _entry(
    path: Path, line: int, row: Mapping[str, str], root: Path, columns: Columns, layout: Layout
) -> Entry:
    try:
        if None in row or None in row.values():
            raise DataError("it has not as many fields as the first line")
        file = place_file(root, row["path"])
        frame = parse_frame(_whole(row["frame"])) if row.get("frame") else None
        subject = check_subject(_whole(row["subject"])) if row.get("subject") else ""
        box = _box(row)
        face_px = parse_size(row["face_px"]) if row.get("face_px") else None
        face = Face(box=box, face_px=face_px)
        placed = [_place(row, *names) for names in columns]
        if any(seen for _, _, seen in placed):
            points_K2 = np.array([[x, y] for x, y, _ in placed])
            face = build_face(points_K2, np.array([seen for *_, seen in placed]), box, face_px)
    except KeyError as error:
        raise ConfigError(f"{path}, line {line}: there is no column {error}.") from error
    except (ValueError, OverflowError, DataError) as error:
        raise ConfigError(f"{path}, line {line}: {error}.") from error
    return Entry(file, frame, face, layout=layout, subject=subject)


def _place(row: Mapping[str, str], x: str, y: str, v: str) -> tuple[float, float, int]:
    """x, y and visibility of one landmark."""
    if bool(row[x]) != bool(row[y]):
        raise DataError(
            f"{x} is {row[x]!r} and {y} is {row[y]!r}: give both, or neither where there is no place"
        )
    if not row[x]:
        return 0.0, 0.0, 0
    place = parse_number(row[x]), parse_number(row[y])
    if np.isnan(place).all():  # what pandas calls an empty cell
        return 0.0, 0.0, 0
    return *place, int(_whole(row.get(v) or "1"))


def _whole(word: str) -> str:
    """A whole number without what pandas writes behind those of a column that has empty cells."""
    head, _, tail = word.partition(".")
    return head if tail == "0" and head.isdigit() else word


def _box(row: Mapping[str, str]) -> Box | None:
    if row.get("x1"):
        x1, y1, x2, y2 = (parse_number(row[name]) for name in ("x1", "y1", "x2", "y2"))
        return check_box((x1, y1, x2, y2))
    if row.get("w"):
        return box_from_xywh(*(parse_number(row[name]) for name in ("x", "y", "w", "h")))
    return None


def box_from_xywh(x: float, y: float, w: float, h: float) -> Box:
    return check_box((x, y, x + w, y + h))
