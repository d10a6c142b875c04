"""The detector for one CPU core: a small U of plain 3x3 convolutions, heatmaps at stride 4.

Depthwise convolutions would need fewer operations and were not faster where it matters: at these few channels a
CPU waits for memory.
"""

from torch import Tensor, nn

from tsal_dist.models.layers import Residual, conv_norm
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.way_up import WayUp

DOWN = (32, 48, 64, 80)
"""Channels at strides 4, 8, 16, 32."""


class Lite(nn.Module):
    """Four residual blocks down, and the way up."""

    stride = 4
    trunk = ("stem.", "down.")
    embedding = "maps.look_again"

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 16, 3, 2), conv_norm(16, DOWN[0], 3, 2))
        self.down = nn.ModuleList(
            Residual(inner, outer, 1 if level == 0 else 2)
            for level, (inner, outer) in enumerate(zip((DOWN[0], *DOWN), DOWN, strict=False))
        )
        self.maps = WayUp(DOWN, num_points)
        self.maps.start(self)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        x = self.stem(image_N3HW)
        levels = []
        for block in self.down:
            x = block(x)
            levels.append(x)
        out: DetectorOutput = self.maps(levels)
        return out
