"""Text files that name frames: the format is told by the content, a data set of one's own needs no code.

    TSAL and SBR    path annotation|None x1 y1 x2 y2 [face_size]
    WFLW            196 coordinates, x1 y1 x2 y2, 6 attributes, image name
    .csv, .json, .xml, .slp     of other tools: see `formats`

A path is a still image, or `<video file>#<frame>` with frames counted from 1, as `%06d` files and 300VW's
annotations are. Relative paths start at the folder of the list, or at the root that the caller names.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import (
    Entry,
    Face,
    build_face,
    check_box,
    parse_number,
    parse_size,
    place_file,
    split_frame,
)
from tsal_dist.pack.formats.formats import format_of
from tsal_dist.pack.points import AFLW_POINTS, load_pts

WFLW_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_WFLW_FIELDS = 2 * 98 + 4 + len(WFLW_ATTRIBUTES) + 1


def read_list(path: Path, root: Path | None = None, points: int = AFLW_POINTS) -> list[Entry]:
    """Every face that a list names, in its order; lines that repeat an earlier one are left out.

    A broken annotation becomes the problem of its entry; a list that is none of the known formats is refused.
    """
    if path.is_dir():
        raise ConfigError(f"The list {path} is a folder. Name the file of labels in it.")
    if not path.is_file():
        raise ConfigError(f"The list {path} does not exist. Check the path.")
    root = root or path.parent
    named = format_of(path)
    if named:
        return named.read(path, root)
    entries = list(_read_lines(path, root, points))
    if not entries:
        raise ConfigError(f"The list {path} names no frame. Give a list with one subject per line.")
    return entries


def _read_lines(path: Path, root: Path, points: int) -> Iterator[Entry]:
    seen = set()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The list {path} cannot be read as text: it is not UTF-8. Save it so, or, if it is a video, name it with --videos."
        ) from error
    except OSError as error:
        raise ConfigError(f"The list {path} cannot be read as text: {error}.") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line in seen:
            continue
        seen.add(line)
        try:
            if len(words) == _WFLW_FIELDS:
                yield _wflw_entry(words, root)
            else:
                yield _tsal_entry(words, root, points)
        except (ValueError, DataError) as error:
            raise ConfigError(f"{path}, line {number}: {error}.") from error


def _tsal_entry(words: list[str], root: Path, points: int) -> Entry:
    if len(words) not in (6, 7):
        raise DataError(
            f"{len(words)} fields, but a line is `path annotation|None x1 y1 x2 y2 [face_size]`, or one of "
            f"WFLW with {_WFLW_FIELDS}; paths must not hold spaces"
        )
    name, frame = split_frame(words[0])
    file = place_file(root, name)
    x1, y1, x2, y2 = (parse_number(word) for word in words[2:6])
    box = check_box((x1, y1, x2, y2))
    face_px = parse_size(words[6]) if len(words) == 7 else None
    if words[1].lower() == "none":
        return Entry(file, frame, Face(box=box, face_px=face_px))
    try:
        read = load_pts(Path(place_file(root, words[1])), points)
    except DataError as error:
        return Entry(file, frame, Face(box=box, face_px=face_px), str(error))
    return Entry(file, frame, Face(read.points_K2, read.visible_K, box, face_px))


def _wflw_entry(words: list[str], root: Path) -> Entry:
    numbers = np.array([parse_number(word) for word in words[:200]])
    x1, y1, x2, y2 = numbers[196:].tolist()
    marks = words[200:206]
    if set(marks) - {"0", "1"}:
        raise DataError(f"attributes {' '.join(marks)} are not six times 0 or 1, as WFLW writes them")
    attributes = tuple(name for name, mark in zip(WFLW_ATTRIBUTES, marks, strict=True) if mark == "1")
    points_K2 = numbers[:196].reshape(98, 2)
    face = build_face(points_K2, np.ones(98, np.uint8), check_box((x1, y1, x2, y2)), None, attributes)
    return Entry(place_file(root, words[206]), None, face)
