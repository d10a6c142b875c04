"""What every tracker gives for a pair of frames a, b.

Axes: N pairs, H W pixels. Flow a -> b holds at pixel p of a the step (x, y) to p's place in b.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tsal_dist.geometry.warp import forward_backward_error, not_occluded


class Flow(NamedTuple):
    """Both directions, and what they say about each other."""

    forward_N2HW: Tensor
    """From a to b."""
    backward_N2HW: Tensor
    """From b to a."""
    error_N1HW: Tensor
    """Pixels by which a pixel of a misses itself after going to b and back."""
    valid_N1HW: Tensor
    """Whether that is little for the length of the way, and b has the place at all."""

    @property
    def reverse(self) -> "Flow":
        """The same pair seen from b."""
        return with_checks(self.backward_N2HW, self.forward_N2HW)


class Tracker(Protocol):
    """Finds the flow of N pairs of RGB frames, uint8."""

    def __call__(self, a_NHWC: Tensor, b_NHWC: Tensor) -> Flow: ...


def with_checks(forward_N2HW: Tensor, backward_N2HW: Tensor) -> Flow:
    """The checks are judgements, not answers: no gradient flows through them."""
    with torch.no_grad():
        return Flow(
            forward_N2HW,
            backward_N2HW,
            forward_backward_error(forward_N2HW, backward_N2HW),
            not_occluded(forward_N2HW, backward_N2HW),
        )
