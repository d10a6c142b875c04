"""A small flow network: pyramid, warping, cost volume, from coarse to fine, in the manner of PWC-Net.

One estimator serves all levels, since a step of one cell looks the same at each of them. It is trained without
labels, by the losses in tsal_dist.losses.tracking. Axes: N pairs; h w cells of a level.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.geometry.warp import warp
from tsal_dist.trackers.flow import Flow

PYRAMID = (16, 32, 64, 96, 128)
"""Channels at 1/2, 1/4, ... 1/32."""
FINEST = 1
"""Index of the level at which the flow ends: 1/4, enlarged from there."""
COMMON = 32
"""Channels that every level is brought to."""
REACH = 4
"""Cells that a level can look to each side; 4 at 1/32 are 128 pixels."""
ESTIMATOR = (128, 128, 96, 64, 32)
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))
"""Channels and dilation."""


class PwcTracker(nn.Module):
    """Flow of pairs of uint8 frames; sides should be multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(
            nn.Sequential(_conv(inner, outer, stride=2), _conv(outer, outer))
            for inner, outer in pairwise((3, *PYRAMID))
        )
        self.narrow = nn.ModuleList(nn.Conv2d(channels, COMMON, 1) for channels in PYRAMID[FINEST:])
        self.estimate = _Estimator((2 * REACH + 1) ** 2 + COMMON + 2)
        self.context = _context()
        self._start()

    def forward(self, a_NHWC: Tensor, b_NHWC: Tensor) -> Flow:
        pyramid_a, pyramid_b = self._features(a_NHWC), self._features(b_NHWC)
        size = (a_NHWC.shape[1], a_NHWC.shape[2])
        # Both directions in one batch: the network does not know which frame came first.
        there = [torch.cat(pair) for pair in zip(pyramid_a, pyramid_b, strict=True)]
        back = [torch.cat(pair) for pair in zip(pyramid_b, pyramid_a, strict=True)]
        forward_N2HW, backward_N2HW = self._flow(there, back, size).chunk(2)
        return Flow(forward_N2HW, backward_N2HW)

    def _features(self, image_NHWC: Tensor) -> list[Tensor]:
        """Levels from fine to coarse."""
        x = image_NHWC.permute(0, 3, 1, 2).float() / 255 - 0.5
        levels = []
        for block in self.pyramid:
            x = block(x)
            levels.append(x)
        return levels[FINEST:]

    def _flow(self, from_levels: list[Tensor], to_levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        flow_N2hw = torch.zeros_like(from_levels[-1][:, :2], dtype=torch.float32)
        for level in range(len(from_levels) - 1, -1, -1):
            here, there = from_levels[level], to_levels[level]
            flow_N2hw = _enlarge(flow_N2hw, (here.shape[-2], here.shape[-1]))
            met, _ = warp(there, flow_N2hw)
            cost = F.leaky_relu(_correlate(here.float(), met), 0.1)
            features, step = self.estimate(torch.cat([cost, self.narrow[level](here), flow_N2hw], dim=1))
            flow_N2hw = flow_N2hw + step.float()
            flow_N2hw = flow_N2hw + self.context(torch.cat([features, flow_N2hw], dim=1)).float()
        return _enlarge(flow_N2hw, size)

    def _start(self) -> None:
        """He's weights, and steps that begin near zero: an untrained tracker says that nothing moves."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for last in (self.estimate.step, self.context[-1]):
            if isinstance(last, nn.Conv2d):
                nn.init.normal_(last.weight, std=1e-4)


class _Estimator(nn.Module):
    """Five convolutions, each of which sees the two before it."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        first, second, *rest = ESTIMATOR
        self.first = _conv(inner, first)
        self.second = _conv(first, second)
        self.rest = nn.ModuleList()
        before, last = first, second
        for channels in rest:
            self.rest.append(_conv(before + last, channels))
            before, last = last, channels
        self.step = nn.Conv2d(before + last, 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        before = self.first(x)
        last = self.second(before)
        for layer in self.rest:
            before, last = last, layer(torch.cat([before, last], dim=1))
        return last, self.step(torch.cat([before, last], dim=1))


def _context() -> nn.Sequential:
    """Dilated convolutions that look around before a flow is final."""
    layers: list[nn.Module] = []
    inner = ESTIMATOR[-1] + 2
    for channels, dilation in CONTEXT:
        layers.append(_conv(inner, channels, dilation=dilation))
        inner = channels
    return nn.Sequential(*layers, nn.Conv2d(inner, 2, 3, padding=1))


def _conv(inner: int, outer: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inner, outer, 3, stride, padding=dilation, dilation=dilation)
    return nn.Sequential(conv, nn.LeakyReLU(0.1, inplace=True))


def _correlate(here_NChw: Tensor, met_NChw: Tensor) -> Tensor:
    """Cost_NDhw: product with each of the (2 REACH + 1)^2 cells around; unit features, so a cosine.

    Cell by cell: all at once they are 81 times the features, 85 MB for a pair of crops of 256 px.
    """
    here, met = F.normalize(here_NChw, dim=1), F.normalize(met_NChw, dim=1)
    height, width = here.shape[-2:]
    around = F.pad(met, (REACH,) * 4)
    window = range(2 * REACH + 1)
    shifted = (around[..., y : y + height, x : x + width] for y in window for x in window)
    return torch.stack([(here * there).sum(1) for there in shifted], dim=1)


def _enlarge(flow_N2hw: Tensor, size: tuple[int, int]) -> Tensor:
    """The same motion on a finer map, in that map's cells."""
    factor = size[1] / flow_N2hw.shape[-1]
    if factor == 1:
        return flow_N2hw
    return F.interpolate(flow_N2hw, size=size, mode="bilinear", align_corners=False) * factor
