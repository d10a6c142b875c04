"""What an annotation says about one face in one frame, in pixels of the source."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2."""

HIDDEN = 2  # a point whose place is known though it cannot be seen; 1 is visible, 0 has no place


@dataclass(frozen=True, eq=False)
class Face:
    """Everything is optional: an unlabelled line of a list still has a box."""

    points_K2: NDArray[np.float32] | None = None
    visible_K: NDArray[np.uint8] | None = None
    box: Box | None = None
    face_px: float | None = None
    attributes: tuple[str, ...] = ()

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


def build_face(
    points_K2: NDArray[np.float32],
    visible_K: NDArray[np.uint8],
    box: Box | None = None,
    face_px: float | None = None,
    attributes: tuple[str, ...] = (),
) -> Face:
    """A labelled face; points without a place are zeroed, and others must be finite."""
    points_K2 = np.where(visible_K[:, None] > 0, points_K2, 0).astype(np.float32)
    if not np.isfinite(points_K2).all():
        raise DataError("a landmark is not a finite number")
    return Face(points_K2, visible_K.astype(np.uint8), box, face_px, attributes)


def tight_box(face: Face) -> Box | None:
    """The box around the placed landmarks; None without at least two different ones."""
    if face.points_K2 is None or face.visible_K is None:
        return None
    placed = face.points_K2[face.visible_K > 0]
    if not len(placed) or np.ptp(placed, axis=0).min() <= 0:
        return None
    (x1, y1), (x2, y2) = placed.min(0).tolist(), placed.max(0).tolist()
    return (x1, y1, x2, y2)


def check_box(box: Box) -> Box:
    x1, y1, x2, y2 = box
    if not (np.isfinite(box).all() and x2 > x1 and y2 > y1):
        raise DataError(
            f"box {x1:g} {y1:g} {x2:g} {y2:g} has no area: boxes are x1 y1 x2 y2, not x y width height"
        )
    return box
