"""The same held-out frames as the students of several runs see them: a row for each run, on one picture."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import disc, stroke
from tsal_dist.insight.gallery import VIEW_PX, Shown, show_frames
from tsal_dist.insight.measured import Model, some_frames
from tsal_dist.insight.plots import write_caption

COLUMNS = 5
HEAD_PX, GAP_PX = 30, 4
_PAPER, _INK, _TRUTH, _FOUND = (251, 250, 247), (29, 33, 38), (255, 255, 255), (41, 182, 246)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def side_by_side(models: Sequence[Model]) -> NDArray[np.uint8] | None:
    """RGB; the report's first run is the last row, what it is compared with stands above. None without a comparison
    or a frame.

    The frames are spread evenly over the set: nobody has chosen them.
    """
    students = [model for model in models if model.role == "student"]
    if len(students) < 2:
        return None
    refs = [one.ref for one in some_frames(students[0], COLUMNS)]
    if not refs:
        return None
    frames = show_frames({model.name: model.judge for model in students}, refs)
    return np.vstack([_row(model, frames) for model in reversed(students)])


def _row(model: Model, frames: Sequence[Shown]) -> NDArray[np.uint8]:
    tiles = [_tile(one, model) for one in frames]
    gap = np.full((VIEW_PX, GAP_PX, 3), _PAPER, np.uint8)
    row = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    head = np.full((HEAD_PX, row.shape[1], 3), _PAPER, np.uint8)
    title = f"{model.run}: error {100 * model.found.errors.nme:.1f} %"
    cv2.putText(head, title, (2, HEAD_PX - 10), _FONT, 0.6, _INK, 1, cv2.LINE_AA)
    return np.vstack([head, row])


def _tile(one: Shown, model: Model) -> NDArray[np.uint8]:
    """Truth as small rings, what was found as dots that are joined, the frame's error in the corner."""
    drawn = one.image_HWC.copy()
    points_K2 = one.points_K2[model.name]
    for a, b in model.lines:
        stroke(drawn, points_K2[[a, b]], _FOUND, 1)
    for point_2 in points_K2:
        disc(drawn, point_2, (2.2, 2.2), _FOUND)
    for point_2 in one.truth_K2[one.visible_K]:
        disc(drawn, point_2, (2.2, 2.2), _TRUTH, rim_px=1)
    write_caption(drawn, f"{100 * one.nme[model.name]:.1f} %", 0.5)
    return drawn
