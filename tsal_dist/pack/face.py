"""What an annotation says about one face in one frame, in pixels of the source."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.records import Layout

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2."""

LAST_FRAME = 2**31 - 1  # the frame table holds 32 bits
_SUBJECT = re.compile(r"[\w -]{1,60}")
_OF_SUBJECT = re.compile(r"(?P<video>.+\.\w+)@(?P<subject>[\w -]{1,60})", re.DOTALL)
LEAST_PX = 1.0
"""Sides of a stored box are no shorter."""
FLAT = 0.25
"""Points in a row have no box of their own: it is as wide as so much of its longer side."""
HIDDEN = 2  # a point whose place is known though it cannot be seen; 1 is visible, 0 has no place


@dataclass(frozen=True, eq=False)
class Face:
    """Everything is optional: an unlabelled line of a list still has a box."""

    points_K2: NDArray[np.float32] | None = None
    visible_K: NDArray[np.uint8] | None = None
    box: Box | None = None
    face_px: float | None = None
    attributes: tuple[str, ...] = ()
    first_pixel: int = 0
    """What the annotation calls the first pixel, which the points here call 0."""

    def digest(self) -> bytes:
        """Bytes that differ when anything in this annotation does."""
        seal = hashlib.sha256(repr((self.box, self.face_px, self.attributes)).encode())
        for array in (self.points_K2, self.visible_K):
            seal.update(b"-" if array is None else array.tobytes())
        return seal.digest()


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of a list: a face in a file. `frame` counts from 0; None means that the file is a still."""

    path: str
    frame: int | None
    face: Face
    problem: str = ""
    """Why the annotation of this entry cannot be used; the frame is then recorded as failed."""
    layout: Layout = Layout()
    """What the landmarks are called, where the list says so."""
    subject: str = ""
    """Which of a video's subjects it is, where the list tells them apart."""


def build_face(
    points_K2: NDArray[np.floating],
    visible_K: NDArray[np.integer],
    box: Box | None = None,
    face_px: float | None = None,
    attributes: tuple[str, ...] = (),
    first_pixel: int = 0,
) -> Face:
    """A labelled face; points without a place are zeroed, and others must be finite."""
    if not np.isin(visible_K, (0, 1, HIDDEN)).all():
        raise DataError("a visibility is none of 0 (no place), 1 (visible) and 2 (hidden)")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        points_K2 = np.where(visible_K[:, None] > 0, points_K2, 0).astype(np.float32)
    if not np.isfinite(points_K2).all():
        raise DataError("a landmark is not a finite number")
    return Face(points_K2, visible_K.astype(np.uint8), box, face_px, attributes, first_pixel)


def parse_number(word: str) -> float:
    """A number as data sets write it. Python also reads `1_0` and other alphabets' digits, and those are damage."""
    try:
        if "_" not in word and word.isascii():
            return float(word)
    except ValueError:
        pass
    raise DataError(f"{word[:30]!r} is not a number such as 10.5")


def parse_frame(word: str) -> int:
    """A frame number as people count, from 1, to one that counts from 0."""
    if not (word.isascii() and word.isdigit() and 1 <= int(word[:11]) <= LAST_FRAME):
        raise DataError(
            f"frame {word[:20]!r} is no whole number from 1 to {LAST_FRAME}: frames are counted from 1"
        )
    return int(word) - 1


def parse_size(word: str) -> float:
    """The size of a face in pixels."""
    size_px = parse_number(word)
    if not 0 < size_px < np.inf:
        raise DataError(f"face size {word} is not a number of pixels above 0")
    return size_px


def check_subject(word: str) -> str:
    """The name or number of a subject, as it can be part of a video's name."""
    if not _SUBJECT.fullmatch(word):
        raise DataError(f"subject {word[:30]!r} is no name of letters, digits, spaces, _ and - alone")
    return word


def spell_subject(name: str) -> str:
    """A name that another tool gave, with every letter that may not be in one replaced."""
    return re.sub(r"[^\w -]", "_", name)[:60]


def name_subject(video: str, subject: str) -> str:
    """What one of a video's subjects is called: it is packed as a video of its own."""
    return f"{video}@{subject}" if subject else video


def split_subject(name: str) -> tuple[str, str]:
    """Undoes `name_subject`: `clip.mp4@2` is subject 2 of clip.mp4; other names are of no subject in particular."""
    match = _OF_SUBJECT.fullmatch(name)
    return (match["video"], match["subject"]) if match else (name, "")


def check_path(path: str) -> str:
    """A path as an operating system takes it."""
    if not path or "\0" in path:
        raise DataError(f"{path!r} is no path of a file")
    return path


def place_file(root: Path, name: str) -> str:
    """The file that a table calls `name`, from the folder `root`. Tables written on Windows have backslashes in their paths,
    and are read as such unless a file has that very name."""
    file = root / check_path(name)
    if "\\" in name and not file.exists():
        file = root / name.replace("\\", "/")
    return str(file)


def tight_box(face: Face) -> Box | None:
    """The box around the placed landmarks, which has no area where they lie in a row; None without any."""
    if face.points_K2 is None or face.visible_K is None or not face.visible_K.any():
        return None
    placed = face.points_K2[face.visible_K > 0]
    (x1, y1), (x2, y2) = placed.min(0).tolist(), placed.max(0).tolist()
    return (x1, y1, x2, y2)


def annotated_box(face: Face) -> Box | None:
    """The box that the annotation gives, or else the one around its landmarks; None where it says of neither, or these
    are all in one place."""
    tight = tight_box(face)
    if face.box or tight is None:
        return face.box
    x1, y1, x2, y2 = tight
    return tight if min(x2 - x1, y2 - y1) >= LEAST_PX else widened_box(face)


def widened_box(face: Face) -> Box | None:
    """The box around the placed landmarks, nowhere thinner than FLAT; None where there are none, or all in one place."""
    tight = tight_box(face)
    if tight is None:
        return None
    x1, y1, x2, y2 = tight
    least = FLAT * max(x2 - x1, y2 - y1)
    wide, high = max(0.0, least - (x2 - x1)) / 2, max(0.0, least - (y2 - y1)) / 2
    return (x1 - wide, y1 - high, x2 + wide, y2 + high) if least else None


def check_box(box: Box) -> Box:
    x1, y1, x2, y2 = box
    if not (np.isfinite(box).all() and x2 > x1 and y2 > y1):
        raise DataError(
            f"box {x1:g} {y1:g} {x2:g} {y2:g} has no area: boxes are x1 y1 x2 y2, not x y width height"
        )
    return box


def split_frame(path: str) -> tuple[str, int | None]:
    """`vid.avi#000001` is the first frame of vid.avi, number 0 here; other paths are stills."""
    name, mark, digits = path.rpartition("#")
    return (name, parse_frame(digits)) if mark and digits.isdigit() else (path, None)
