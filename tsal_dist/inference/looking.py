"""Where in a picture a subject is, and whether there is one at all: told by looking into many boxes.

Whether there is one is judged by looking again: from boxes that are shifted, larger and smaller. What is there is
found at the same place from everywhere; what is made up moves with the crop.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tsal_dist.inference.pictures import Image
from tsal_dist.pack.boxes import overlap
from tsal_dist.records import Layout

Floats = NDArray[np.float64]
Box = Floats

LOOKS = 4
"""How often a box that was guessed is looked at again, each time closer."""
SEARCH = ((0.9, 1), (0.65, 2), (0.45, 3))
"""A search's first boxes: their side as a share of the picture's shorter one, and how many stand along each side."""
LONG = 1.1
"""A picture with sides of a larger ratio has a box of its own shape in every search."""
MOST_FOUND = 8
"""Subjects that one search finds at most."""
SAME = 0.5
"""Boxes that overlap by more (intersection over union) are of one subject."""
SECOND_LOOKS = (
    (0.2, 0.2, 1.0),
    (-0.2, 0.2, 1.0),
    (0.2, -0.2, 1.0),
    (-0.2, -0.2, 1.0),
    (0.0, 0.0, 1.25),
    (0.0, 0.0, 0.8),
)
"""The boxes from which a find is looked at again: shift in halves of its longer side, and size."""
LEAST_PX = 8.0
"""A box that follows landmarks is no smaller."""


@dataclass(frozen=True)
class Look:
    """What was seen in C boxes of one picture."""

    points_CK2: Floats
    """Pixels of the picture."""
    score_CK: Floats
    agreement_C: Floats
    """How alike heatmaps and offsets tell the points, up to 1."""
    zoom_C: Floats
    """Pixels of the crop per pixel of the picture."""
    expected_px_CK: Floats | None = None
    """By how much each point is expected to be off, where the detector's own file says it."""


class Eyes(Protocol):
    """A detector with crop and decoding around it."""

    @property
    def num_points(self) -> int: ...

    @property
    def layout(self) -> Layout: ...

    def look(self, image_HWC: Image, boxes: Sequence[Box]) -> Look:
        """Landmarks within boxes that are grown as in training, as a search needs them."""
        ...

    def closely(self, image_HWC: Image, box_4: Box) -> Look:
        """Landmarks within one box, as they are handed on."""
        ...


def look_at_nothing(eyes: Eyes) -> None:
    """One box of a black picture: to learn how long a look takes."""
    eyes.look(np.zeros((64, 64, 3), np.uint8), [np.array([0.0, 0.0, 63.0, 63.0])])


def search(eyes: Eyes, image_HWC: Image) -> Box:
    """A box around the subject, wherever it is: boxes all over the picture are looked into, each is moved to what
    was found in it, and the one wins whose points are sure and told alike by heatmaps and offsets."""
    boxes, merit_C = settle(eyes, image_HWC, list(spread_boxes(image_HWC)))
    return boxes[int(np.argmax(merit_C))]


def search_all(eyes: Eyes, image_HWC: Image) -> list[Box]:
    """Boxes around whatever may be a subject, the best first, each somewhere else; most hold none and are to be judged."""
    boxes, merit_C = settle(eyes, image_HWC, list(spread_boxes(image_HWC, even=True)))
    return apart([boxes[place] for place in np.argsort(-merit_C, kind="stable")])[:MOST_FOUND]


def settle(eyes: Eyes, image_HWC: Image, boxes: list[Box]) -> tuple[list[Box], Floats]:
    """Each box moved to what is found in it, and how sure and how well told that is."""
    for _ in range(LOOKS):
        look = eyes.look(image_HWC, boxes)
        boxes = [
            box_around(points_K2, image_HWC, box_4)
            for points_K2, box_4 in zip(look.points_CK2, boxes, strict=True)
        ]
    return boxes, look.score_CK.mean(1) * look.agreement_C


def apart(boxes: Sequence[Box]) -> list[Box]:
    """Those that are not of the same subject as an earlier one."""
    kept: list[Box] = []
    for box_4 in boxes:
        if not same_as(box_4, kept):
            kept.append(box_4)
    return kept


def same_as(box_4: Box, others: Sequence[Box], most: float = SAME) -> bool:
    """Whether it is of the same subject as one of the others: they overlap by more than `most`."""
    return bool(others) and bool(overlap(np.stack(others), box_4).max() > most)


def gather_evidence(eyes: Eyes, image_HWC: Image, box_4: Box) -> Floats:
    """Numbers that tell a subject in this box from something made up, each the larger the better; for `Presence`."""
    side_px = float((box_4[2:] - box_4[:2]).max())
    look = eyes.look(image_HWC, list(second_looks(box_4)))
    middle_K2 = np.median(look.points_CK2, axis=0)
    strayed_CK = np.linalg.norm(look.points_CK2 - middle_K2, axis=-1) / side_px
    sizes = [look.score_CK.mean(), np.quantile(look.score_CK, 0.1), look.agreement_C.mean()]
    strays = [np.median(strayed_CK), strayed_CK.mean()]
    evidence_E: Floats = np.log(np.maximum(sizes + [1 / max(stray, 1e-4) for stray in strays], 1e-4))
    return evidence_E


def spread_boxes(image_HWC: Image, even: bool = False) -> Iterator[Box]:
    """Boxes of several sizes all over the picture: where a search begins. They are squares, and beside them, where none holds
    enough of the longer side, most of the picture: a subject may fill it. `even`: on a longer side stand more."""
    height, width = image_HWC.shape[:2]
    shorter = min(height, width)
    if max(height, width) > LONG * shorter:
        middle_2 = np.array([width, height]) / 2
        yield np.concatenate([middle_2 - SEARCH[0][0] * middle_2, middle_2 + SEARCH[0][0] * middle_2])
    for share, places in SEARCH:
        half = share * shorter / 2
        rows, columns = (math.ceil(places * side / shorter) if even else places for side in (height, width))
        for y in np.linspace(half, height - half, rows):
            for x in np.linspace(half, width - half, columns):
                yield np.array([x - half, y - half, x + half, y + half])


def second_looks(box_4: Box) -> Iterator[Box]:
    """The boxes from which a find is looked at again."""
    middle_2, half_2 = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) / 2
    for x, y, size in SECOND_LOOKS:
        moved_2 = middle_2 + np.array([x, y]) * half_2.max()
        yield np.concatenate([moved_2 - size * half_2, moved_2 + size * half_2])


def box_around(points_K2: Floats, image_HWC: Image, looked_at_4: Box) -> Box:
    """Around the landmarks, at least a few pixels large, and with its middle in the picture. A lone one has no size: its box
    stays as large as the one that was looked at."""
    low, high = points_K2.min(0), points_K2.max(0)
    middle = np.clip((low + high) / 2, 0, np.array(image_HWC.shape[1::-1]) - 1)
    side = high - low if len(points_K2) > 1 else looked_at_4[2:] - looked_at_4[:2]
    half = np.maximum(side / 2, LEAST_PX / 2)
    return np.concatenate([middle - half, middle + half])
