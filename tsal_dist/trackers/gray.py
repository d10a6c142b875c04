"""From a batch of RGB frames to OpenCV's gray pictures, one by one, and back to a batch of flows."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.trackers.flow import Flow, with_checks

Gray = NDArray[np.uint8]


def both_ways(
    find_flow_HW2: Callable[[Gray, Gray], NDArray[np.float32]], a_NHWC: Tensor, b_NHWC: Tensor
) -> Flow:
    """The flows of N pairs, there and back, on the device that the frames came from."""
    pairs = list(zip(_grays(a_NHWC), _grays(b_NHWC), strict=True))
    forward_NHW2 = np.stack([find_flow_HW2(a, b) for a, b in pairs])
    backward_NHW2 = np.stack([find_flow_HW2(b, a) for a, b in pairs])
    return with_checks(_planes(forward_NHW2, a_NHWC), _planes(backward_NHW2, a_NHWC))


def _grays(image_NHWC: Tensor) -> list[Gray]:
    frames = image_NHWC.cpu().numpy()
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]


def _planes(flow_NHW2: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(flow_NHW2).permute(0, 3, 1, 2).contiguous().to(like.device)
