"""The small detectors that start from ImageNet: EfficientNet-Lite's trunk and `lite`'s way up, maps at stride 4."""

from torch import Tensor, nn

from tsal_dist.models.efficientnet_lite import EfficientNetLite
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.way_up import WayUp


class Lite0(nn.Module):
    """lite0; its larger sisters multiply the trunk's `width` and `depth`."""

    stride = 4
    trunk = ("encoder.",)

    def __init__(self, num_points: int, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(width, depth)
        self.maps = WayUp(self.encoder.channels, num_points)
        self.maps.start(self)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        out: DetectorOutput = self.maps(self.encoder(image_N3HW))
        return out
