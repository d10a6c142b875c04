"""From a trunk's features at strides 4, 8, 16 and 32 to two stages of heatmaps, centre and offsets at stride 4.

What the small detectors share. Axes: S stages, N frames, K points.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.models.layers import CenterHead, conv_norm, heat_conv, start
from tsal_dist.models.output import DetectorOutput

WIDTH = 48
"""Channels on the way up."""


class WayUp(nn.Module):
    """Two heatmap stages; the second sees the first's maps."""

    def __init__(self, channels: Sequence[int], num_points: int) -> None:
        super().__init__()
        self.across = nn.ModuleList(conv_norm(each, WIDTH, 1, relu=False) for each in channels)
        self.up = nn.ModuleList(conv_norm(WIDTH, WIDTH) for _ in channels[:-1])
        self.heat_1 = heat_conv(WIDTH, num_points)
        self.look_again = nn.Sequential(conv_norm(WIDTH + num_points + 1, WIDTH, 1), conv_norm(WIDTH, WIDTH))
        self.heat_2 = heat_conv(WIDTH, num_points)
        self.head = CenterHead(sum(channels[-2:]), 64, num_points)

    def start(self, model: nn.Module) -> None:
        """Initial values for `model`, which this is a part of: outputs near "nothing anywhere"."""
        start(model, [self.heat_1, self.heat_2], self.head)

    def forward(self, levels: list[Tensor]) -> DetectorOutput:
        sides = [across(level) for across, level in zip(self.across, levels, strict=True)]
        x = sides.pop()
        for block, side in zip(self.up, reversed(sides), strict=True):
            x = block(side + F.interpolate(x, size=side.shape[-2:], mode="nearest"))

        heat_1 = self.heat_1(x)
        heat_2 = self.heat_2(self.look_again(torch.cat([x, heat_1], dim=1)))
        center, offset = self._subject(levels, (x.shape[-2], x.shape[-1]))
        return DetectorOutput(torch.stack([heat_1, heat_2]), center, offset)

    def _subject(self, levels: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Centre and offsets from strides 16 and 32, which see the whole subject, enlarged to the maps' size.

        Nothing is lost: p - c is linear in the cell c, and bilinear enlargement keeps what is linear.
        """
        coarse = levels[-2]
        deepest = F.interpolate(levels[-1], size=coarse.shape[-2:], mode="nearest")
        maps = self.head(torch.cat([coarse, deepest], dim=1))
        center, offset = (
            F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps
        )
        return center, offset
