"""What every detector gives, whatever it is made of.

Axes: S stages, N frames, K points, h w cells of `stride` pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class DetectorOutput(NamedTuple):
    """A tuple, so that DDP, DeepSpeed and torch.compile find the tensors in it."""

    heat_SNKhw: Tensor
    """K + 1 maps per stage, the last map being the background; linear, coarse to fine."""
    center_N1hw: Tensor
    """Logits of the face's centre."""
    offset_N2Khw: Tensor
    """Cells from a cell to each landmark if the face were centred there: x_0 y_0 x_1 y_1 ..."""

    @property
    def points_heat_NKhw(self) -> Tensor:
        """The last stage's maps of the K points, without the background: what is decoded."""
        return self.heat_SNKhw[-1, :, :-1]


Forward = Callable[[Tensor], DetectorOutput]
"""A detector as its users see it: normalised crops in, maps out."""
