"""From a batch of RGB frames to OpenCV's gray pictures, and back to a batch of flows: pair by pair, in threads.

OpenCV lets go of Python's lock while it computes. The frames are brought to the host when a flow is begun, before the
device is given more to do, so that the threads and the device work at the same time.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.trackers.flow import Flow

Gray = NDArray[np.uint8]
FindFlow = Callable[[Gray, Gray], NDArray[np.float32]]


class GrayFlow:
    """A tracker of pairs of gray pictures. `build` makes what finds a flow_HW2: one for each thread, since OpenCV's
    own are not made to be shared. The numbers do not depend on the threads."""

    def __init__(self, build: Callable[[], FindFlow], threads: int = 0) -> None:
        self._build = build
        self._threads = threads
        self._own = local()
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, a_NHWC: Tensor, b_NHWC: Tensor) -> Flow:
        return self.begin(a_NHWC, b_NHWC)()

    def begin(self, a_NHWC: Tensor, b_NHWC: Tensor) -> Callable[[], Flow]:
        """Start on the flows of N pairs, there and back; called, the result waits for them."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads or torch.get_num_threads(), "flow")
        pairs = list(zip(_grays(a_NHWC), _grays(b_NHWC), strict=True))
        forward = [self._pool.submit(self._find, a, b) for a, b in pairs]
        backward = [self._pool.submit(self._find, b, a) for a, b in pairs]

        def finish() -> Flow:
            return Flow(_planes(forward, a_NHWC), _planes(backward, a_NHWC))

        return finish

    def _find(self, a_HW: Gray, b_HW: Gray) -> NDArray[np.float32]:
        if not hasattr(self._own, "find"):
            self._own.find = self._build()
        found: NDArray[np.float32] = self._own.find(a_HW, b_HW)
        return found


def _grays(image_NHWC: Tensor) -> list[Gray]:
    frames = image_NHWC.cpu().numpy()
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]


def _planes(flows: list[Future[NDArray[np.float32]]], like: Tensor) -> Tensor:
    found = [flow.result() for flow in flows]  # none, where all clips are of one frame
    flow_NHW2 = torch.from_numpy(np.array(found, np.float32).reshape(-1, *like.shape[1:3], 2))
    return flow_NHW2.permute(0, 3, 1, 2).contiguous().to(like.device)
