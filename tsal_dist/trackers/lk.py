"""Pyramidal Lucas-Kanade from OpenCV on a grid of windows, spread to every pixel between them.

Landmarks are not tracked directly: on a grid the same answer carries points, heatmaps and pictures, and a
landmark is at most half a step from a window that is several steps wide.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tsal_dist.trackers.gray import Gray, GrayFlow

WINDOW_PX = 15
LEVELS = 3


class LkTracker(GrayFlow):
    """A window every `step_px` pixels or a little closer, so that the outermost sit on the frame's border."""

    def __init__(self, threads: int = 0, step_px: int = 6) -> None:
        super().__init__(lambda: self._find_on_grid, threads)
        self._step_px = step_px

    def _find_on_grid(self, a_HW: Gray, b_HW: Gray) -> NDArray[np.float32]:
        height, width = a_HW.shape
        rows = np.linspace(0, height - 1, -(-height // self._step_px) + 1, dtype=np.float32)
        columns = np.linspace(0, width - 1, -(-width // self._step_px) + 1, dtype=np.float32)
        start_L2 = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        end_L2, found_L1, _ = cv2.calcOpticalFlowPyrLK(
            a_HW, b_HW, start_L2, start_L2.copy(), winSize=(WINDOW_PX, WINDOW_PX), maxLevel=LEVELS
        )
        # A lost window leaves the frame: a standing one would look like a face that does not move.
        step_L2 = np.where(found_L1.astype(bool), end_L2 - start_L2, np.float32(height + width))
        grid_12hw = torch.from_numpy(step_L2.reshape(1, len(rows), len(columns), 2)).permute(0, 3, 1, 2)
        dense_12HW = F.interpolate(grid_12hw, size=(height, width), mode="bilinear", align_corners=True)
        return dense_12HW[0].permute(1, 2, 0).numpy()
