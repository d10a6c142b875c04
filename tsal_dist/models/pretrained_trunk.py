"""The detectors on a pretrained trunk with frozen norms: `lite`'s way up above it, maps at stride 4."""

from typing import Protocol, cast

from torch import Tensor, nn

from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.way_up import WayUp


class Trunk(Protocol):
    """Features of a normalised crop."""

    channels: tuple[int, ...]
    """Of the features at strides 4, 8, 16 and 32."""

    def __call__(self, image_N3HW: Tensor) -> list[Tensor]: ...


class OnTrunk(nn.Module):
    """A trunk and the way up."""

    stride = 4
    trunk = ("encoder.",)
    embedding = "maps.look_again"

    def __init__(self, encoder: nn.Module, num_points: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.maps = WayUp(cast(Trunk, encoder).channels, num_points)
        self.maps.start(self)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        out: DetectorOutput = self.maps(self.encoder(image_N3HW))
        return out
