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
        self.stem = FrozenConv(3, STEM, 3, 2)
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
        x = self.stem(image_N3HW * self.input_scale + self.input_shift)
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
        self.expand = FrozenConv(inner, middle) if expansion != 1 else nn.Identity()
        self.depthwise = FrozenConv(middle, middle, kernel, stride, groups=middle)
        self.project = FrozenConv(middle, outer, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        path: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + path if self.short else path


class FrozenConv(nn.Module):
    """A convolution and the batch norm behind it, whose statistics, scale and shift never change.

    A frozen norm is y = scale * conv(x) + shift: the same convolution with scaled filters and a bias. So it costs
    nothing per pixel, forward or backward, while the filters learn at the published scale. There are no statistics
    that a batch could move, in training mode either: a frame's result does not depend on its batch.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        inner: int,
        outer: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups, self.relu = kernel, stride, groups, relu
        self.weight = nn.Parameter(torch.empty(outer, inner // groups, kernel, kernel))
        self.register_buffer("scale", torch.ones(outer))
        self.register_buffer("shift", torch.zeros(outer))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu" if relu else "linear")

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale.view(-1, 1, 1, 1)
        padding = self.kernel // 2
        if self.stride > 1:
            sides = [same_padding(size, self.kernel, self.stride) for size in (x.shape[-1], x.shape[-2])]
            x, padding = F.pad(x, (*sides[0], *sides[1])), 0
        x = F.conv2d(x, weight, self.shift, self.stride, padding, groups=self.groups)
        return F.relu6(x, inplace=True) if self.relu else x


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, as TensorFlow's "same" has them: just enough, the odd one after."""
    outer = -(-size // stride)
    total = max(0, (outer - 1) * stride + kernel - size)
    return total // 2, total - total // 2


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
    for name, weight in found.items():
        match = _CONV.fullmatch(name)
        if match is None or (match["block"] is None) != (match["part"] is None):
            continue
        block, part = match["block"] or "", match["part"]
        norm = f"{block}{_NORM_OF[part]}."
        place = f"encoder.{block.lstrip('_')}{part or 'stem'}"
        ours[f"{place}.weight"] = weight
        ours |= _fold(place, {key.removeprefix(norm): found[key] for key in found if key.startswith(norm)})
        used |= {name, *(key for key in found if key.startswith(norm))}
    return ours | {name: tensor for name, tensor in found.items() if name not in used}


def _fold(place: str, norm: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not {"weight", "bias", "running_mean", "running_var"} <= norm.keys():
        return {}  # reported as lacking
    scale = norm["weight"] * torch.rsqrt(norm["running_var"] + NORM_EPSILON)
    return {f"{place}.scale": scale, f"{place}.shift": norm["bias"] - norm["running_mean"] * scale}
