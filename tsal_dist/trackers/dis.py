"""Dense inverse search from OpenCV: a flow for every pixel, no training, milliseconds for a small crop."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.trackers.gray import FindFlow, Gray, GrayFlow


class DisTracker(GrayFlow):
    """DIS with its medium preset: the faster ones are two to five times less exact on a turning face."""

    def __init__(self, threads: int = 0) -> None:
        super().__init__(_build, threads)


def _build() -> FindFlow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def find(a_HW: Gray, b_HW: Gray) -> NDArray[np.float32]:
        start_HW2 = np.zeros((*a_HW.shape, 2), np.float32)
        return np.asarray(dis.calc(a_HW, b_HW, start_HW2), np.float32)

    return find
