"""Which box of a frame is whose: subjects of a video get numbers from 1, keep them, lose sight, and are found again.

It goes by places, and by colours where there is a choice. Each subject is expected where its last speed takes it. Boxes go
to the subjects that were seen in the last frame first, the pair of all first that is nearest and most alike; then to those
that were lost, who may have gone the further the longer ago that is. A box that nobody is near to is a new subject's, and
one that was not seen for MEMORY_FRAMES is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]

REACH = 0.6
"""How far from where it is expected a subject's middle may be in the next frame, in sides of its box."""
REACH_PER_FRAME = 0.1
MOST_REACH = 2.0
"""By so much more for each frame that it was lost, up to so much."""
MOST_GROWTH = 2.0
"""A box that is so many times larger or smaller is another's."""
NEW_SPEED = 0.3
"""Share of the newest step in a subject's speed."""
COASTS_FRAMES = 15
"""A lost subject is expected to go on for so long, and to stay there then."""
MEMORY_FRAMES = 75
NEW_COLORS = 0.1
"""Share of the newest frame in what is known of a subject's colours: for a moment another may stand before it."""
BINS_HSV = (8, 4, 4)
UNLIKE_SIDES = 1.0
"""Two that have no colour in common count as so many sides of the box further apart."""


@dataclass
class Track:
    """What is known of a subject."""

    subject: int
    box_4: Box
    last: int
    """The frame in which it was last seen."""
    speed_2: NDArray[np.float64]
    """Of its middle, in pixels per frame."""
    born: int
    colors_D: NDArray[np.float64]
    """The shares of its pixels that have each colour."""

    def expected_2(self, frame: int) -> NDArray[np.float64]:
        """Where its middle should be."""
        return middle_of(self.box_4) + self.speed_2 * min(frame - self.last, COASTS_FRAMES)

    def reach_px(self, frame: int) -> float:
        """How far from there it may be."""
        return side_of(self.box_4) * min(REACH + REACH_PER_FRAME * (frame - self.last - 1), MOST_REACH)

    def see(self, box_4: Box, colors_D: NDArray[np.float64], frame: int) -> None:
        """It is there."""
        known_2 = None if self.last == self.born else self.speed_2
        moved_2 = middle_of(box_4) - middle_of(self.box_4)
        self.speed_2 = average_pace(known_2, moved_2, NEW_SPEED, frame - self.last)
        self.colors_D = NEW_COLORS * colors_D + (1 - NEW_COLORS) * self.colors_D
        self.box_4, self.last = box_4, frame


class BoxTracker:
    """The subjects of one video, told frame after frame."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._frame = -1
        self._born = 0

    def update(self, image_HWC: NDArray[np.uint8], boxes: Sequence[Box]) -> list[int]:
        """The subject of each box of the next frame. No two are of the same."""
        colors = [colors_in(image_HWC, box_4) for box_4 in boxes]
        self._frame += 1
        self._tracks = [one for one in self._tracks if self._frame - one.last <= MEMORY_FRAMES]
        free = set(range(len(boxes)))
        subjects = [0] * len(boxes)
        taken: set[int] = set()
        for _, _, place, track in sorted(self._pairs(boxes, colors), key=lambda pair: pair[:2]):
            if place in free and track.subject not in taken:
                free.remove(place)
                taken.add(track.subject)
                subjects[place] = track.subject
                track.see(boxes[place], colors[place], self._frame)
        for place in sorted(free):
            self._born += 1
            subjects[place] = self._born
            self._tracks.append(
                Track(self._born, boxes[place], self._frame, np.zeros(2), self._frame, colors[place])
            )
        return subjects

    def reaches(self, subject: int, box_4: Box) -> bool:
        """Whether a box of the next frame may be of this subject."""
        return any(
            self._away(one, box_4, self._frame + 1) is not None
            for one in self._tracks
            if one.subject == subject
        )

    @staticmethod
    def _away(track: Track, box_4: Box, frame: int) -> float | None:
        """How many of its sides a box is from where the subject is expected; None where it is not of that subject."""
        away_px = float(np.linalg.norm(middle_of(box_4) - track.expected_2(frame)))
        growth = side_of(box_4) / side_of(track.box_4)
        if away_px > track.reach_px(frame) or not 1 / MOST_GROWTH <= growth <= MOST_GROWTH:
            return None
        return away_px / side_of(track.box_4)

    def _pairs(
        self, boxes: Sequence[Box], colors: Sequence[NDArray[np.float64]]
    ) -> list[tuple[bool, float, int, Track]]:
        """Every box with every subject that it may be of: whether that was lost, and how far off and unlike it is."""
        found = []
        for track in self._tracks:
            for place, box_4 in enumerate(boxes):
                away = self._away(track, box_4, self._frame)
                if away is not None:
                    unlike = 1 - float(np.minimum(track.colors_D, colors[place]).sum())
                    lost = track.last < self._frame - 1
                    found.append((lost, away + UNLIKE_SIDES * unlike, place, track))
        return found


def colors_in(image_HWC: NDArray[np.uint8], box_4: Box) -> NDArray[np.float64]:
    """The shares of a box's pixels that have each colour, coarsely; those of its corners, where it shows no subject, too."""
    height, width = image_HWC.shape[:2]
    x1, y1, x2, y2 = np.rint(np.clip(box_4, 0, [width - 1, height - 1] * 2)).astype(int).tolist()
    hsv_HW3 = cv2.cvtColor(image_HWC[y1 : y2 + 1, x1 : x2 + 1], cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([hsv_HW3], [0, 1, 2], None, BINS_HSV, [0, 180, 0, 256, 0, 256])
    return np.asarray(counts, np.float64).ravel() / hsv_HW3[..., 0].size


def average_pace(
    pace_2: NDArray[np.float64] | None, moved_2: NDArray[np.float64], share: float, frames: int = 1
) -> NDArray[np.float64]:
    """What a subject moves per frame, with its newest way, which took so many frames: `share` is what one frame counts. The
    first way is the pace; later ones are averaged, for boxes tremble."""
    step_2 = moved_2 / frames
    if pace_2 is None:
        return step_2
    newest = 1 - (1 - share) ** frames
    return newest * step_2 + (1 - newest) * pace_2


def middle_of(box_4: Box) -> NDArray[np.float64]:
    return (box_4[:2] + box_4[2:]) / 2


def side_of(box_4: Box) -> float:
    """Of a square with the box's area; never 0."""
    return float(np.sqrt(np.prod(np.maximum(box_4[2:] - box_4[:2], 1e-3))))
