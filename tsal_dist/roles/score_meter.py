"""What a teacher's scores mean in pixels: learnt with each version, from labelled frames in fresh views.

They are frames that the student learns from, so what is stated is kinder than the truth of other frames; by how much is what
the report's curve of stated errors shows, on frames that nobody learnt from.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tsal_dist.dist.collectives import sum_tensors
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.metrics.calibration import Calibration, Tally, fit_tally
from tsal_dist.models.input import normalize
from tsal_dist.models.output import Forward
from tsal_dist.recipes.api import Task
from tsal_dist.recipes.frames import Frames

KEPT = 0.9
"""Of what was counted before, at each version: a net that gets better means more by the same score."""


class ScoreMeter:
    """Counts by how much peaks of each height are off."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tally = Tally(task.points)
        self.known: Calibration | None = None
        """None before a labelled point was looked at."""

    def look(self, infer: Forward, frames: Frames) -> None:
        """Count these frames, and those of all other ranks. Collective."""
        output = infer(normalize(frames.image_NHWC))
        stride = frames.image_NHWC.shape[1] // output.points_heat_NKhw.shape[-1]
        points_NK2, score_NK = decode_heatmap(output.points_heat_NKhw, stride, self._task.radius)
        mine = Tally(self._task.points)
        mine.add(
            score_NK.float().cpu().numpy(),
            (points_NK2 - frames.points_NK2).norm(dim=-1).float().cpu().numpy(),
            (frames.visible_NK & frames.labelled_N.unsqueeze(-1)).cpu().numpy(),
        )
        self._tally.fade(KEPT)
        self._tally.add_counts(_numbers(sum_tensors(_tensors(mine))))
        self._read()

    def state_dict(self) -> dict[str, Tensor]:
        return _tensors(self._tally)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self._tally = Tally(self._task.points)
        self._tally.add_counts(_numbers(state))
        self._read()

    def _read(self) -> None:
        # A map that says nothing is as far off as chance: half a crop.
        self.known = fit_tally(self._tally, self._task.crop_px / 2) if self._tally.count_KB.any() else None


def _tensors(tally: Tally) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in tally.counts().items()}


def _numbers(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
