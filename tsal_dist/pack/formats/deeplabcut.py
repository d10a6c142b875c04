"""DeepLabCut's and Lightning Pose's CSV: three header rows, scorer, bodyparts and coords, then a picture to a line.

A fourth row, individuals, makes it several subjects to a picture, by their names. The picture's path is one column, or three. An empty
cell is a landmark without a place; hidden landmarks are not known to the format, and neither are boxes.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Entry, Face, build_face, parse_number, place_file, spell_subject
from tsal_dist.pack.formats.table import separator
from tsal_dist.records import Layout

SCORER = "tsal_dist"
_NAMELESS = "single"  # what DeepLabCut calls landmarks of no individual in particular
_HEADS = ("scorer", "individuals", "bodyparts", "coords")
_OF_FRAME = re.compile(r"img(\d+)")
_PICTURES = "labeled-data"


def is_deeplabcut(first_line: str) -> bool:
    first = first_line.lstrip("\ufeff")
    return first.split(separator(first))[0].strip().lower() == "scorer"


def read_deeplabcut(path: Path, root: Path) -> list[Entry]:
    """One entry per picture and individual with at least one placed landmark, or none where all are empty.

    Paths start at the folder that holds `labeled-data`, which is the file's own or the one two above it.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        rows = list(csv.reader(io.StringIO(text), strict=True, delimiter=separator(text.partition("\n")[0])))
        heads = {row[0].strip().lower(): row for row in rows[:4] if row and row[0].strip().lower() in _HEADS}
        if not {"bodyparts", "coords"} <= set(heads):
            raise DataError("below the line `scorer` there is no `bodyparts` and `coords`")
        lines = rows[len(heads) :]
        columns = _columns(heads)
        names = tuple(dict.fromkeys(part for _, part in columns))
        layout = Layout(names)
        entries = [
            entry
            for number, row in enumerate(lines, len(heads) + 1)
            if any(cell.strip() for cell in row)
            for entry in _entries(path, number, row, root, columns, layout)
        ]
    except (OSError, UnicodeDecodeError, csv.Error, DataError) as error:
        raise ConfigError(f"{path} is no table of DeepLabCut or Lightning Pose: {error}.") from error
    if not entries:
        raise ConfigError(f"{path} names no picture: below its header there is nothing.")
    return entries


def _columns(heads: dict[str, list[str]]) -> dict[tuple[str, str], dict[str, int]]:
    """For each individual and body part, the columns of x and y."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    if len({len(row) for row in heads.values()}) > 1:
        raise DataError("the rows of its header have not the same number of columns")
    people = heads.get("individuals", [""] * len(heads["bodyparts"]))
    for place, (who, part, axis) in enumerate(zip(people, heads["bodyparts"], heads["coords"], strict=True)):
        if axis in ("x", "y"):
            if axis in found.get((who, part), {}):
                raise DataError(f"the body part {part!r} has two columns {axis}")
            found.setdefault((who, part), {})[axis] = place
    if not found or any(set(axes) != {"x", "y"} for axes in found.values()):
        raise DataError("the row `coords` does not give every body part an x and a y")
    return found


def _entries(
    path: Path,
    number: int,
    row: list[str],
    root: Path,
    columns: dict[tuple[str, str], dict[str, int]],
    layout: Layout,
) -> list[Entry]:
    first = min(place for axes in columns.values() for place in axes.values())
    words = [word for word in row[:first] if word]
    last = max(place for axes in columns.values() for place in axes.values())
    try:
        if len(row) <= last:
            raise DataError(f"it has {len(row)} cells, and the header {last + 1}")
        file = _find(root, "/".join(words))
        found = []
        for who in dict.fromkeys(who for who, _ in columns):
            points_K2, visible_K = np.zeros((len(layout.names), 2)), np.zeros(len(layout.names), np.uint8)
            for k, name in enumerate(layout.names):
                axes = columns.get((who, name))
                if axes is not None and row[axes["x"]].strip() and row[axes["y"]].strip():
                    points_K2[k] = parse_number(row[axes["x"]]), parse_number(row[axes["y"]])
                    visible_K[k] = not np.isnan(points_K2[k]).any()
            if visible_K.any():
                face = build_face(points_K2, visible_K)
                found.append(
                    Entry(
                        file,
                        None,
                        face,
                        layout=layout,
                        subject="" if who == _NAMELESS else spell_subject(who),
                    )
                )
    except (ValueError, DataError) as error:
        raise ConfigError(f"{path}, line {number}: {error}.") from error
    return found or [Entry(file, None, Face(), layout=layout)]


def _find(root: Path, name: str) -> str:
    """The picture below the table's folder, or, where the table lies in `labeled-data/<video>`, below the project's."""
    here, above = place_file(root, name), place_file(root.parent.parent, name)
    return above if not os.path.exists(here) and os.path.exists(above) else here


def frame_of(picture: str) -> tuple[str, int] | None:
    """`labeled-data/<video>/img0042.png` is frame 42 of that video, counted from 0: the tools name pictures so. Any other
    picture is none, though its folder be called like a video: nobody knows what its number counts, nor from where."""
    file = Path(os.path.abspath(picture))
    digits = _OF_FRAME.fullmatch(file.stem)
    return (file.parent.name, int(digits[1])) if digits and file.parent.parent.name == _PICTURES else None


def write_deeplabcut(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """Hidden landmarks are written as any other; a frame of a video gets the name that DeepLabCut would give it. Subjects
    that are told apart are the individuals of one line."""
    names = layout.names_of(points)
    people = list(dict.fromkeys(entry.subject for entry in entries))
    individuals = [who or _NAMELESS for who in people for _ in range(2 * points)]
    head = [
        ["scorer", *[SCORER] * len(individuals)],
        *([["individuals", *individuals]] if any(people) else []),
        ["bodyparts", *[name for name in names for _ in "xy"] * len(people)],
        ["coords", *["x", "y"] * points * len(people)],
    ]
    lines: dict[tuple[str, int], list[str]] = {}
    written: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        picture, first = _picture(entry), 1 + 2 * points * people.index(entry.subject)
        # What nothing tells apart has a line of its own.
        again = written[picture, entry.subject]
        written[picture, entry.subject] += 1
        cells = lines.setdefault((picture, again), [picture, *[""] * len(individuals)])
        if entry.face.points_K2 is not None and entry.face.visible_K is not None:
            for k in np.flatnonzero(entry.face.visible_K).tolist():
                place = [f"{value:.3f}" for value in entry.face.points_K2[k].tolist()]
                cells[first + 2 * k : first + 2 * k + 2] = place
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([*head, *lines.values()])


def _picture(entry: Entry) -> str:
    if entry.frame is None:
        return entry.path
    return f"{_PICTURES}/{Path(entry.path).stem}/img{entry.frame:06d}.png"
