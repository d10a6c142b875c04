"""Which part of a picture is kept: a square around the face with a margin, cut off where the picture ends.

Readers take all frames of a clip through one matrix, in pixels of what is stored. So a window stands still for as long
as the face is well inside of it; where it has to move on, a new segment begins, and no clip crosses that place.
"""

import math
from dataclasses import dataclass

from tsal_dist.pack.face import Box

KEPT_SHARE = 0.5
"""Of the margin that must be left on every side; below it the window is drawn anew."""
MOST_GROWTH = 1.4
"""How much larger or smaller than at first a face may become within one window."""


@dataclass(frozen=True)
class Window:
    """Whole pixels of the source."""

    left: int
    top: int
    right: int
    bottom: int
    """First pixels that are not in it, as are those of `right`."""


class WindowFollower:
    """Windows of consecutive frames of one shard; a function of those frames alone."""

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._seen: tuple[str, tuple[int, int]] | None = None
        self._square: Box = (0.0, 0.0, 0.0, 0.0)
        self._longer_px = 0.0
        self._window: Window | None = None

    def follow(self, video: str, region: Box, size_px: tuple[int, int], still: bool) -> Window | None:
        """The window of a frame of `size_px` (width, height) whose face lies in `region`; None where that is outside
        of the picture. Stills share no window."""
        longer_px = max(region[2] - region[0], region[3] - region[1])
        if still or self._seen != (video, size_px) or not self._holds(region, longer_px):
            self._seen, self._longer_px = (video, size_px), longer_px
            self._square = _grow(_square(region), self._margin * longer_px)
            self._window = _cut(self._square, size_px)
        return self._window

    def _holds(self, region: Box, longer_px: float) -> bool:
        growth = longer_px / self._longer_px
        x1, y1, x2, y2 = _grow(region, KEPT_SHARE * self._margin * longer_px)
        left, top, right, bottom = self._square
        inside = x1 >= left and y1 >= top and x2 <= right and y2 <= bottom
        return inside and 1 / MOST_GROWTH <= growth <= MOST_GROWTH


def enclose(one: Box, other: Box | None) -> Box:
    """The smallest box around both."""
    if other is None:
        return one
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _square(region: Box) -> Box:
    x, y = (region[0] + region[2]) / 2, (region[1] + region[3]) / 2
    half = max(region[2] - region[0], region[3] - region[1]) / 2
    return (x - half, y - half, x + half, y + half)


def _grow(box: Box, by_px: float) -> Box:
    return (box[0] - by_px, box[1] - by_px, box[2] + by_px, box[3] + by_px)


def _cut(square: Box, size_px: tuple[int, int]) -> Window | None:
    """Every pixel that the square touches: a pixel reaches half a pixel to each side of its centre."""
    left, top = (max(0, math.floor(edge + 0.5)) for edge in square[:2])
    right, bottom = (min(size, math.ceil(edge + 0.5)) for edge, size in zip(square[2:], size_px, strict=True))
    return Window(left, top, right, bottom) if right > left and bottom > top else None
