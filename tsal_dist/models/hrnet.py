"""HRNet-W18: four resolutions kept side by side and mixed again and again, heatmaps at stride 4.

Its parts carry the names of the ImageNet checkpoints that its authors published, so that those load by name.
They come with batch norms, hence so does this: with several processes use torch's SyncBatchNorm, or a process's
result depends on its share of the batch.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.models.layers import CenterHead, heat_conv, start
from tsal_dist.models.output import DetectorOutput

WIDTHS = (18, 36, 72, 144)
"""Channels at strides 4, 8, 16, 32."""
BLOCKS = 4
"""Residual blocks per branch of a module."""
QUIET = 0.1
"""First scale of what is added to a branch."""


class HrnetW18(nn.Module):
    """One heatmap stage from all four resolutions."""

    stride = 4
    trunk = ("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition", "stage")
    embedding = "join"

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(_Bottleneck(64), *(_Bottleneck(256) for _ in range(3)))
        self.transition1 = _transition((256,), WIDTHS[:2])
        self.stage2 = nn.Sequential(_Mix(WIDTHS[:2]))
        self.transition2 = _transition(WIDTHS[:2], WIDTHS[:3])
        self.stage3 = nn.Sequential(*(_Mix(WIDTHS[:3]) for _ in range(4)))
        self.transition3 = _transition(WIDTHS[:3], WIDTHS)
        self.stage4 = nn.Sequential(*(_Mix(WIDTHS) for _ in range(3)))
        together = sum(WIDTHS)
        self.join = nn.Sequential(_conv_bn(together, together, 1), nn.ReLU(inplace=True))
        self.heat = heat_conv(together, num_points)
        self.head = CenterHead(together, 64, num_points)
        start(self, [self.heat], self.head)
        self._quieten()

    def _quieten(self) -> None:
        """Let what is added to a branch begin small: batch statistics hide a sum that doubles from module to
        module, and a model asked before it has seen a batch would answer in thousands.
        """
        for module in self.modules():
            if isinstance(module, _BasicBlock):
                nn.init.constant_(module.bn2.weight, QUIET)
            elif isinstance(module, _Bottleneck):
                nn.init.constant_(module.bn3.weight, QUIET)
            elif isinstance(module, _Mix):
                for norm in module.fuse_layers.modules():
                    if isinstance(norm, nn.BatchNorm2d):
                        nn.init.constant_(norm.weight, QUIET)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        x = torch.relu(self.bn1(self.conv1(image_N3HW)))
        x = torch.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            branches = stage(_widen(transition, branches))
        size = branches[0].shape[-2:]
        grown = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in branches[1:]]
        joined = self.join(torch.cat([branches[0], *grown], dim=1))
        center, offset = self.head(joined)
        return DetectorOutput(self.heat(joined).unsqueeze(0), center, offset)


class _BasicBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class _Bottleneck(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, 64, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 256, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(256)
        self.downsample = nn.Identity() if inner == 256 else _conv_bn(inner, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        path = torch.relu(self.bn1(self.conv1(x)))
        path = torch.relu(self.bn2(self.conv2(path)))
        return torch.relu(self.downsample(x) + self.bn3(self.conv3(path)))


class _Mix(nn.Module):
    """Every branch on its own, then every branch the sum of all, brought to its size."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_BasicBlock(width) for _ in range(BLOCKS))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bring(source, goal, widths) for source in range(len(widths)))
            for goal in range(len(widths))
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        own = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        mixed = []
        for goal, row in enumerate(self.fuse_layers):
            size = own[goal].shape[-2:]
            total = own[goal]
            for source, bring in enumerate(cast(nn.ModuleList, row)):
                if source < goal:
                    total = total + bring(own[source])
                elif source > goal:
                    smaller = bring(own[source])
                    total = total + F.interpolate(smaller, size=size, mode="bilinear", align_corners=False)
            mixed.append(torch.relu(total))
        return mixed


def _bring(source: int, goal: int, widths: tuple[int, ...]) -> nn.Module:
    """From one branch to another: 1x1 going up (the caller enlarges), strided 3x3 steps going down."""
    if source == goal:
        return nn.Identity()
    if source > goal:
        return _conv_bn(widths[source], widths[goal], 1)
    steps: list[nn.Module] = []
    for step in range(source + 1, goal + 1):
        last = step == goal
        down = _conv_bn(widths[source], widths[goal] if last else widths[source], 3, 2)
        steps.append(down if last else nn.Sequential(*down, nn.ReLU(inplace=True)))
    return nn.Sequential(*steps)


def _transition(inner: tuple[int, ...], outer: tuple[int, ...]) -> nn.ModuleList:
    """One entry per branch to come: a branch that only changes its width, or a new one at half the size."""
    layers: list[nn.Module] = []
    for index, width in enumerate(outer):
        if index >= len(inner):
            half = nn.Sequential(*_conv_bn(inner[-1], width, 3, 2), nn.ReLU(inplace=True))
            layers.append(nn.Sequential(half))
        elif inner[index] != width:
            layers.append(nn.Sequential(*_conv_bn(inner[index], width, 3), nn.ReLU(inplace=True)))
        else:
            layers.append(nn.Identity())
    return nn.ModuleList(layers)


def _widen(transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    """A branch that does not exist yet grows out of the smallest that does."""
    return [layer(branches[min(index, len(branches) - 1)]) for index, layer in enumerate(transition)]


def _conv_bn(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer)
    )
