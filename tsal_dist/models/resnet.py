"""ResNet as a trunk: features at strides 4, 8, 16 and 32, with norms that stay as they were published.

Files of torchvision and timm fit: `conv1`, `bn1`, `layer1.0.conv1`, `layer1.0.downsample.0` and so on. The stride of a
block of three convolutions is in its middle one, as in both.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.models.frozen import FrozenConv, take_conv

STEM = 64
STAGES = (64, 128, 256, 512)
"""Channels that the blocks of a stage work on."""
WIDENING = 4
"""Times as many come out of a block of three convolutions."""
NORM_EPSILON = 1e-5
QUIET = 0.1
"""First scale of what a block adds, where no file is loaded: sums of norms that do not learn would double and double."""

_CONV = re.compile(r"(?P<block>layer\d\.\d+\.)?(?P<part>conv(?P<number>\d)|downsample\.0)\.weight")


class ResNet(nn.Module):
    """The trunk; `counts` are the blocks of the four stages."""

    def __init__(self, counts: Sequence[int], *, deep: bool) -> None:
        super().__init__()
        self.stem = FrozenConv(3, STEM, 7, 2)
        self.stages = nn.ModuleList()
        inner, outgoing = STEM, []
        for place, (working, count) in enumerate(zip(STAGES, counts, strict=True)):
            outer = working * WIDENING if deep else working
            blocks = []
            for index in range(count):
                stride = 2 if place and not index else 1
                blocks.append(_Block(inner, working, outer, stride, deep=deep))
                inner = outer
            self.stages.append(nn.Sequential(*blocks))
            outgoing.append(outer)
        self.channels = tuple(outgoing)

    def forward(self, image_N3HW: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.stem(image_N3HW), inplace=True), 3, 2, 1)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class _Block(nn.Module):
    """Two 3x3 convolutions, or, `deep`, 1x1, 3x3, 1x1, beside a short cut."""

    def __init__(self, inner: int, working: int, outer: int, stride: int, *, deep: bool) -> None:
        super().__init__()
        kernels = (1, 3, 1) if deep else (3, 3)
        widths = (inner, working, working, outer) if deep else (inner, working, outer)
        strided = 1 if deep else 0
        last = len(kernels) - 1
        path = [
            FrozenConv(
                widths[place],
                widths[place + 1],
                kernel,
                stride if place == strided else 1,
                linear=place == last,
            )
            for place, kernel in enumerate(kernels)
        ]
        nn.init.constant_(path[last].scale, QUIET)
        self.path = nn.ModuleList(path)
        same = inner == outer and stride == 1
        self.short = None if same else FrozenConv(inner, outer, 1, stride, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.path[:-1]:
            y = F.relu(conv(y), inplace=True)
        beside = x if self.short is None else self.short(x)
        return F.relu(self.path[-1](y) + beside, inplace=True)


def from_published(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names of a detector's `encoder`, each norm folded; what else there is keeps its name."""
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in found:
        match = _CONV.fullmatch(name)
        if match is None or (match["block"] is None and match["part"] != "conv1"):
            continue
        block, conv = match["block"] or "", name.removesuffix(".weight")
        number = match["number"]
        norm = f"{block}bn{number}" if number else f"{block}downsample.1"
        tensors, names = take_conv(found, conv, norm, _place(block, number), NORM_EPSILON)
        ours |= tensors
        used |= names
    return ours | {name: tensor for name, tensor in found.items() if name not in used}


def _place(block: str, number: str | None) -> str:
    """Our name of a convolution: layer2.0.conv1 is stages.1.0.path.0."""
    if not block:
        return "encoder.stem"
    stage, index = block.removeprefix("layer").rstrip(".").split(".")
    within = f"path.{int(number) - 1}" if number else "short"
    return f"encoder.stages.{int(stage) - 1}.{index}.{within}"
