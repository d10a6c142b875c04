"""Labelled frames of shards as a tracker meets them: with much around their subject, and a box around its landmarks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.clips import build_clips
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import read_chosen
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.geometry import affine
from tsal_dist.inference.evaluation import evenly
from tsal_dist.inference.looking import Box, Floats, Look, box_around
from tsal_dist.inference.pictures import Image
from tsal_dist.records import Clip

MOST_FRAMES = 300
"""Unless said otherwise."""
AROUND = 1.0
"""Frames are shown so many sides of the box beyond it, on each side: room for a search to go astray in."""


@dataclass(frozen=True)
class LabelledFrame:
    """One of them, in its own pixels."""

    number: int
    count: int
    image_HWC: Image
    box_4: Box
    points_K2: Floats
    placed_K: NDArray[np.bool_]

    def off_px(self, look: Look) -> Floats:
        """By how much each point of a look at one box is off, in pixels of its crop."""
        off_K: Floats = np.linalg.norm(look.points_CK2[0] - self.points_K2, axis=-1) * look.zoom_C[0]
        return off_K


def read_frames(shards: ShardSet, crop_px: int, most: int = MOST_FRAMES) -> Iterator[LabelledFrame]:
    """At most so many, evenly spread over the set."""
    view = ViewSettings(round((1 + 2 * AROUND) * crop_px), AROUND)
    clips = build_clips(shards, "labelled")
    chosen = evenly(len(clips), most)
    found = (clip for batch in read_chosen(shards, view, clips, chosen, 8) for clip in batch)
    for number, clip in enumerate(found):
        image_HWC = np.ascontiguousarray(clip.image_THWC[0][..., ::-1])
        placed_K = clip.visible_TK[0].astype(bool)
        points_K2 = clip.points_TK2[0].astype(np.float64)
        box_4 = _landmarks_box(clip, points_K2[placed_K], image_HWC)
        yield LabelledFrame(number, len(chosen), image_HWC, box_4, points_K2, placed_K)


def _landmarks_box(clip: Clip, placed_K2: Floats, image_HWC: Image) -> Box:
    """The box of the landmarks that are placed, as predictions follow it; the label's own where there are too few."""
    own_4 = affine.apply(clip.to_crop_23, clip.box_4.reshape(2, 2)).ravel()
    return own_4 if len(placed_K2) < 2 else box_around(placed_K2, image_HWC, own_4)
