"""From the host to a device beside what the device computes: pinned memory, a stream of its own, one copy per batch.

The stream that computes waits for a copy only where it uses it, and the host for neither. Pinned memory comes from
torch's own pool, which takes a block back once the copy out of it is done: a ring that is as long as it has to be.
"""

from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Lane(Protocol):
    """A way to a device."""

    def send(self, array: NDArray[np.generic]) -> Tensor:
        """The array as a tensor there; the array may be changed afterwards only on a device that is not the host."""


class HostLane:
    """Where the device is the host there is nothing to send."""

    def send(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))


class CopyLane:
    """To a GPU. `cuda` is torch's own module, which a test may stand in for."""

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self._device = device
        self._cuda = cuda
        self._stream = cuda.Stream(device)

    def send(self, array: NDArray[np.generic]) -> Tensor:
        pinned = torch.from_numpy(np.ascontiguousarray(array)).pin_memory()
        using = self._cuda.current_stream(self._device)
        with self._cuda.stream(self._stream):
            there = pinned.to(self._device, non_blocking=True)
        using.wait_stream(self._stream)
        there.record_stream(using)  # so that its memory is not given away while it is in use
        return there


@cache
def lane_to(device: torch.device) -> Lane:
    """This process's lane to a device."""
    return CopyLane(device) if device.type == "cuda" else HostLane()
