"""Where to look for a subject in the next frame."""

from dataclasses import dataclass

import numpy as np

from tsal_dist.inference.looking import Box, Floats
from tsal_dist.pack.box_tracker import average_pace, middle_of, side_of

SMOOTH = 0.6
"""Share of the new landmarks' box in the next frame's; the rest is the old one's, against trembling."""
NEW_PACE = 0.5
"""Share of the newest step in a subject's pace."""
STILL = 0.05
"""By so much of the pace, in sides of the box per frame, no box goes on: that little is trembling, or does not matter."""


@dataclass
class Ahead:
    """How one subject moves. Its box goes on at its pace: one that stays leaves a subject behind that moves by a third of its
    size per frame."""

    _middle_2: Floats | None = None
    _pace_2: Floats | None = None

    def box(self, own_4: Box, looked_at_4: Box) -> Box:
        """The next frame's, by the landmarks' own box in this one and the box that they were found in."""
        before_2, self._middle_2 = self._middle_2, middle_of(own_4)
        stays_4: Box = SMOOTH * own_4 + (1 - SMOOTH) * looked_at_4
        if before_2 is None:
            return stays_4
        self._pace_2 = average_pace(self._pace_2, self._middle_2 - before_2, NEW_PACE)
        still_px = STILL * side_of(own_4)
        goes_on_2: Floats = self._pace_2 - self._pace_2.clip(-still_px, still_px)
        return stays_4 + np.tile(goes_on_2, 2)
