"""What a teacher may learn from on its own: labelled frames, clips, and how the clips move."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from tsal_dist.models.output import Forward
from tsal_dist.recipes.frames import Frames, Pairs, neighbours
from tsal_dist.trackers.flow import Flow, Tracker
from tsal_dist.trackers.gray import GrayFlow


@dataclass(frozen=True)
class Study:
    """One lesson of the teacher's own. Flow is computed where somebody asks for it."""

    forward: Forward
    without_gradient: Forward
    labelled: Frames
    unlabelled: Frames
    tracker: Tracker

    @property
    def pairs(self) -> Pairs:
        return neighbours(self.unlabelled)

    @cached_property
    def flow(self) -> Flow:
        """From the frame before to the frame after, of all pairs at once."""
        with torch.no_grad():
            return find_flow(self.tracker, self.unlabelled, self.pairs)


def find_flow(tracker: Tracker, frames: Frames, pairs: Pairs) -> Flow:
    """The flow of all pairs at once, from the frame before to the frame after."""
    return begin_flow(tracker, frames, pairs)()


def begin_flow(tracker: Tracker, frames: Frames, pairs: Pairs) -> Callable[[], Flow]:
    """As `find_flow`, begun now where threads find it; the result waits for them."""
    before, after = frames.image_NHWC[pairs.before_P], frames.image_NHWC[pairs.after_P]
    return tracker.begin(before, after) if isinstance(tracker, GrayFlow) else lambda: tracker(before, after)
