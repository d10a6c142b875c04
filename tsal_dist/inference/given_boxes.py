"""The boxes of a table that a user gave, held against what was found in them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tsal_dist.inference.looking import Box
from tsal_dist.inference.prediction import Found

LARGE = 1.3
"""So many times as large as the points in it, a box does not lie around them. What is found varies less."""


class GivenBoxes:
    """Of frames, by their source and number."""

    def __init__(self, boxes: Mapping[tuple[str, int | None], Box]) -> None:
        self._boxes = boxes
        self._unused = dict(boxes)
        self._times: list[float] = []
        """How large each box is beside the points in it: by the longer sides, which decide what a detector sees."""

    def compare(self, rows: Sequence[Found]) -> None:
        """Of one source."""
        for row in rows:
            given_4 = self._boxes.get((row.path, row.frame))
            self._unused.pop((row.path, row.frame), None)
            points_px = float(np.ptp(row.points_K2, axis=0).max())
            if given_4 is not None and points_px >= 1:
                self._times.append(float((given_4[2:] - given_4[:2]).max()) / points_px)

    def doubts(self) -> Iterator[str]:
        """A line for whatever looks like a mistake."""
        if self._unused:
            path, frame = next(iter(self._unused))
            yield (
                f"{len(self._unused)} boxes match no frame, such as frame {(frame or 0) + 1} of {path}. Frames count from 1."
            )
        times = float(np.median(self._times)) if self._times else 1.0
        if times >= LARGE:
            yield (
                f"--boxes: its boxes are {times:.1f} times as large as the points found in them (the median of {len(self._times)}), and "
                "points in too large boxes are off. Here a box lies around the points alone, and grows to what was trained on; `tsal "
                "pack --boxes` takes larger ones as they are. Give smaller boxes, or none."
            )
