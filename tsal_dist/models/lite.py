"""The detector for one CPU core: a small U of plain 3x3 convolutions, heatmaps at stride 4.

Depthwise convolutions would need fewer operations and were not faster where it matters: at these few channels a
CPU waits for memory. Axes: S stages, N frames, K points.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.models.layers import CenterHead, Residual, conv_norm, heat_conv, start
from tsal_dist.models.output import DetectorOutput

DOWN = (32, 48, 64, 80)
"""Channels at strides 4, 8, 16, 32."""
WIDTH = 48
"""Channels on the way up."""


class Lite(nn.Module):
    """Two heatmap stages; the second sees the first's maps."""

    stride = 4
    trunk = ("stem.", "down.")
    embedding = "look_again"

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 16, 3, 2), conv_norm(16, DOWN[0], 3, 2))
        self.down = nn.ModuleList(
            Residual(inner, outer, 1 if level == 0 else 2)
            for level, (inner, outer) in enumerate(zip((DOWN[0], *DOWN), DOWN, strict=False))
        )
        self.across = nn.ModuleList(conv_norm(channels, WIDTH, 1, relu=False) for channels in DOWN)
        self.up = nn.ModuleList(conv_norm(WIDTH, WIDTH) for _ in DOWN[:-1])
        self.heat_1 = heat_conv(WIDTH, num_points)
        self.look_again = nn.Sequential(conv_norm(WIDTH + num_points + 1, WIDTH, 1), conv_norm(WIDTH, WIDTH))
        self.heat_2 = heat_conv(WIDTH, num_points)
        self.head = CenterHead(sum(DOWN[-2:]), 64, num_points)
        start(self, [self.heat_1, self.heat_2], self.head)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        x = self.stem(image_N3HW)
        levels = []
        for block in self.down:
            x = block(x)
            levels.append(x)
        sides = [across(level) for across, level in zip(self.across, levels, strict=True)]
        x = sides.pop()
        for block, side in zip(self.up, reversed(sides), strict=True):
            x = block(side + F.interpolate(x, size=side.shape[-2:], mode="nearest"))

        heat_1 = self.heat_1(x)
        heat_2 = self.heat_2(self.look_again(torch.cat([x, heat_1], dim=1)))
        center, offset = self._face(levels, (x.shape[-2], x.shape[-1]))
        return DetectorOutput(torch.stack([heat_1, heat_2]), center, offset)

    def _face(self, levels: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Centre and offsets from strides 16 and 32, which see the whole face, enlarged to the maps' size.

        Nothing is lost: p - c is linear in the cell c, and bilinear enlargement keeps what is linear.
        """
        coarse = levels[-2]
        deepest = F.interpolate(levels[-1], size=coarse.shape[-2:], mode="nearest")
        maps = self.head(torch.cat([coarse, deepest], dim=1))
        center, offset = (
            F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps
        )
        return center, offset
