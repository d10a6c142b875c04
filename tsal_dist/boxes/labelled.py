"""Frames that labels speak of, each read whole, with the boxes of all subjects that were labelled in it.

A subject's box is the one around its labelled points, as a prediction follows it, or the label's own where it has no
points. A frame with a label that has neither holds no subject: that is a lesson too.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.errors import DataError
from tsal_dist.pack.decode import Decoder
from tsal_dist.pack.face import Box, Face, name_subject, widened_box
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import Piece
from tsal_dist.pack.row import far_outside, keep_inside, shrink
from tsal_dist.shards.frames import OK

Image = NDArray[np.uint8]
OnFrame = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

KEPT_PX = 640
"""Longer side at most of a picture that is kept: twice what a net sees."""
QUALITY = 95
MOST_KEPT = 1000
"""Frames that are read at most, drawn from all: in a few hundred steps more teach nothing more."""


@dataclass(frozen=True, eq=False)
class Asked:
    """One frame of a file, with everything that was said of it."""

    path: str
    kind: str
    name: str
    """Of its video."""
    frame: int
    faces: list[Face] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether it was labelled as one without a subject."""
        return not any(map(has_box, self.faces))


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame as it was read."""

    name: str
    frame: int
    jpeg: bytes
    longer_px: int
    """Of the picture's sides."""
    boxes_B4: NDArray[np.float64]
    """x1 y1 x2 y2 in pixels of the picture that is kept."""

    @property
    def image_HWC(self) -> Image:
        """BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def has_box(face: Face) -> bool:
    """Whether a label says where a subject is; else it says that there is none."""
    return face.points_K2 is not None or face.box is not None


def list_frames(inputs: Iterable[Input]) -> list[Asked]:
    """The labelled frames in the order of their names, the subjects of one frame together. A frame is left out where one of
    its labels has a problem: it would be taught that nobody is there."""
    found: dict[tuple[str, int], Asked] = {}
    unusable: set[tuple[str, int]] = set()
    for one in inputs:
        for frame, label in one.labels.items():
            place = (one.path, 0 if one.kind == "still" else frame)
            if label.problem or one.problem is not None:
                unusable.add(place)
            name = one.name.removesuffix(name_subject("", one.subject))
            asked = found.setdefault(place, Asked(one.path, one.kind, name, place[1]))
            asked.faces.append(label.face)
    usable = [asked for place, asked in found.items() if place not in unusable]
    return sorted(usable, key=lambda one: (one.name, one.frame))


def fingerprint(frames: Sequence[Asked]) -> str:
    """The same for the same labels."""
    seal = hashlib.sha256()
    for one in frames:
        seal.update(f"{one.name}\0{one.frame}".encode("utf-8", "surrogateescape"))
        for digest in sorted(face.digest() for face in one.faces):
            seal.update(digest)
    return seal.hexdigest()[:16]


def read_frames(frames: Sequence[Asked], seed: int, on_frame: OnFrame) -> list[Shown]:
    """Those that can be read; a seeded choice of them where there are many."""
    if len(frames) > MOST_KEPT:
        chosen = generator_for(seed, "frames").permutation(len(frames))[:MOST_KEPT]
        frames = [frames[place] for place in sorted(chosen.tolist())]
    shown: list[Shown] = []
    done, decoder = 0, Decoder()
    for path in dict.fromkeys(one.path for one in frames):
        of_file = {one.frame: one for one in frames if one.path == path}
        first = next(iter(of_file.values()))
        source = Input(path, "still" if first.kind == "still" else "video", labels={})
        for decoded in decoder.frames(Piece(source, sorted(of_file), to_end=False), 1):
            if decoded.status == OK:
                shown += _show(of_file[decoded.frame], decoded.image_HWC)
            done += 1
            on_frame(done, len(frames))
    decoder.close()
    if not shown:
        raise DataError(
            f"None of {len(frames)} labelled frames can be read, or their labels lie outside of the pictures. Check --videos "
            "and --labels."
        )
    return shown


def _show(asked: Asked, image_HWC: Image) -> list[Shown]:
    """Nothing where a label is a mistake: what it meant is not known, and the frame is not empty."""
    if any(far_outside(face, image_HWC) for face in asked.faces):
        return []
    height, width = image_HWC.shape[:2]
    boxes = [box for face in asked.faces if (box := box_of(keep_inside(face, image_HWC))) is not None]
    if len(boxes) < sum(map(has_box, asked.faces)):
        return []
    small_HWC = shrink(image_HWC, KEPT_PX)
    scale_2 = np.array(small_HWC.shape[1::-1]) / (width, height)
    boxes_B4 = (np.array(boxes, np.float64).reshape(-1, 4) + 0.5) * np.tile(scale_2, 2) - 0.5
    encoded, jpeg = cv2.imencode(".jpg", small_HWC, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return (
        [Shown(asked.name, asked.frame, jpeg.tobytes(), max(small_HWC.shape[:2]), boxes_B4)]
        if encoded
        else []
    )


def box_of(face: Face) -> Box | None:
    """Around the labelled points, however flat; or the label's own. None where neither has an area."""
    return widened_box(face) or face.box
