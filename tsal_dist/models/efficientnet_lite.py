"""EfficientNet-Lite as a trunk: features at strides 4, 8, 16 and 32, with norms that stay as they were published.

The published weights expect bytes as (x - 127) / 128 and TensorFlow's "same" padding, which at stride 2 adds more
below and to the right than above and to the left. Both are done here, so that a detector's input is normalised as
every other's. What follows the last block (1280 channels and the classifier) is left out.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.models.frozen import FrozenConv, take_conv
from tsal_dist.models.input import MEAN_RGB, STD_RGB

STEM = 32
# Kernel, stride, expansion, channels, blocks: of lite0, which its larger sisters multiply.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
NORM_EPSILON = 1e-3
"""What the published norms add to a variance."""
_INPUT_MEAN, _INPUT_SCALE = 127.0, 128.0

_CONV = re.compile(
    r"(?P<block>_blocks\.\d+\.)?_(?:conv_stem|(?P<part>expand|depthwise|project)_conv)\.weight"
)
_NORM_OF = {None: "_bn0", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}


class EfficientNetLite(nn.Module):
    """The trunk; lite0 by itself, lite1 and lite2 by their multipliers."""

    input_scale: Tensor
    input_shift: Tensor

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        # v / 255 = s * x + m, and the trunk wants (v - 127) / 128. Derived, so not part of the saved state.
        mean_3, std_3 = torch.tensor(MEAN_RGB) * 255, torch.tensor(STD_RGB) * 255
        self.register_buffer("input_scale", (std_3 / _INPUT_SCALE).view(3, 1, 1), persistent=False)
        self.register_buffer(
            "input_shift", ((mean_3 - _INPUT_MEAN) / _INPUT_SCALE).view(3, 1, 1), persistent=False
        )
        self.stem = FrozenConv(3, STEM, 3, 2, same=True)
        blocks: list[_Block] = []
        inner = STEM
        for place, (kernel, stride, expansion, channels, count) in enumerate(STAGES):
            outer = round_channels(channels * width)
            # The first and the last stage are not deepened.
            repeats = count if place in (0, len(STAGES) - 1) else math.ceil(count * depth)
            for index in range(repeats):
                blocks.append(_Block(inner, outer, kernel, stride if index == 0 else 1, expansion))
                inner = outer
        self.blocks = nn.ModuleList(blocks)
        # A level is what comes out of the last block before the next halving.
        ends = [index for index, block in enumerate(blocks[1:]) if block.stride == 2]
        self.ends = (*ends[1:], len(blocks) - 1)
        self.channels = tuple(blocks[end].outer for end in self.ends)

    def forward(self, image_N3HW: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem(image_N3HW * self.input_scale + self.input_shift), inplace=True)
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                levels.append(x)
        return levels


class _Block(nn.Module):
    """Widen, look at each channel's neighbourhood, narrow; beside a short cut where the shape stays."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inner * expansion
        self.outer, self.stride = outer, stride
        self.short = inner == outer and stride == 1
        self.expand = FrozenConv(inner, middle) if expansion != 1 else None
        self.depthwise = FrozenConv(middle, middle, kernel, stride, groups=middle, same=True)
        self.project = FrozenConv(middle, outer, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        path: Tensor = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return x + path if self.short else path


def round_channels(wished: float) -> int:
    """The nearest multiple of 8, unless that takes away more than a tenth."""
    nearest = max(8, int(wished + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * wished else nearest


def from_published(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published file's tensors under the names of a detector's `encoder`, each norm folded to scale and shift.

    What is no part of the trunk keeps its name, and so does everything in a file that was saved here.
    """
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in found:
        match = _CONV.fullmatch(name)
        if match is None or (match["block"] is None) != (match["part"] is None):
            continue
        block, part = match["block"] or "", match["part"]
        place = f"encoder.{block.lstrip('_')}{part or 'stem'}"
        norm = f"{block}{_NORM_OF[part]}"
        tensors, names = take_conv(found, name.removesuffix(".weight"), norm, place, NORM_EPSILON)
        ours |= tensors
        used |= names
    return ours | {name: tensor for name, tensor in found.items() if name not in used}
