"""What every tracker gives for a pair of frames a, b.

Axes: N pairs, H W pixels. Flow a -> b holds at pixel p of a the step (x, y) to p's place in b.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tsal_dist.geometry.warp import forward_backward_error, not_occluded


class Flow(NamedTuple):
    """Both directions, and what they say about each other: judgements, not answers, so no gradient flows through them.
    Each costs a warp whenever it is asked for."""

    forward_N2HW: Tensor
    """From a to b."""
    backward_N2HW: Tensor
    """From b to a."""

    @property
    def error_N1HW(self) -> Tensor:
        """Pixels by which a pixel of a misses itself after going to b and back."""
        with torch.no_grad():
            return forward_backward_error(self.forward_N2HW, self.backward_N2HW)

    @property
    def valid_N1HW(self) -> Tensor:
        """Whether that is little for the length of the way, and b has the place at all."""
        with torch.no_grad():
            return not_occluded(self.forward_N2HW, self.backward_N2HW)

    @property
    def reverse(self) -> "Flow":
        """The same pair seen from b."""
        return Flow(self.backward_N2HW, self.forward_N2HW)


class Tracker(Protocol):
    """Finds the flow of N pairs of RGB frames, uint8."""

    def __call__(self, a_NHWC: Tensor, b_NHWC: Tensor) -> Flow: ...
