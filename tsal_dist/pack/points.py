"""`.pts` files: the landmarks of one face.

Two dialects share the extension. 300W and 300VW write `version: 1` or `version: 1.0`, `n_points: K` and K lines
`x y` in braces. AFLW's converted files have lines `index x y True`, counted from 1, for the visible points only;
their K cannot be seen in the file and is the caller's.

The first dialect counts pixels from 1, as its authors' programs do: 1 is subtracted, since everywhere here the centre
of the first pixel is at 0. The second's coordinates are used as they are written.
"""

from pathlib import Path

import numpy as np

from tsal_dist.errors import DataError
from tsal_dist.pack.face import Face, build_face, parse_number

AFLW_POINTS = 19


def load_pts(path: Path, points: int = AFLW_POINTS) -> Face:
    """Read either dialect; `points` is the K of the one that does not tell."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    return parse_pts(text, path.name, points)


def parse_pts(text: str, where: str, points: int = AFLW_POINTS) -> Face:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        if lines and lines[0].lower().startswith("version:"):
            return _parse_braces(lines)
        return _parse_rows(lines, points)
    except (ValueError, IndexError, DataError) as error:
        raise DataError(f"{where} is not a whole .pts file: {error}") from error


def _parse_braces(lines: list[str]) -> Face:
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    promised = int(fields.get("n_points", "-1"))
    rows = lines[lines.index("{") + 1 : lines.index("}")]
    points_K2 = np.array([[parse_number(word) for word in row.split()] for row in rows])
    if points_K2.shape != (promised, 2) or not promised:
        raise ValueError(f"{len(rows)} points where n_points says {promised}")
    return build_face(points_K2 - 1, np.ones(promised, np.uint8), first_pixel=1)


def _parse_rows(lines: list[str], points: int) -> Face:
    if not lines:
        raise ValueError("it is empty")
    points_K2, visible_K = np.zeros((points, 2)), np.zeros(points, np.uint8)
    named: set[int] = set()
    for line in lines:
        index, x, y, seen = line.split()
        if not 1 <= int(index) <= points or seen not in ("True", "False"):
            raise ValueError(f"line {line!r} is not `index x y True` with an index in 1..{points}")
        if int(index) in named:
            raise ValueError(f"point {int(index)} has two lines")
        named.add(int(index))
        points_K2[int(index) - 1] = parse_number(x), parse_number(y)
        visible_K[int(index) - 1] = seen == "True"
    return build_face(points_K2, visible_K)
