"""The few blocks that the detectors share, and how they start.

Norms here are group norms: their result for a frame does not depend on which frames share its batch, so one
process and many compute the same, and a teacher has no running statistics that its student could spoil.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

# sigmoid(-2.19) = 0.1: nearly every cell is no centre, and a focal loss should not first have to learn that.
CENTER_PRIOR = -2.19

# Offsets reach a dozen cells. An optimiser with steps of a thousandth would take thousands of them to get there.
OFFSET_UNIT_CELLS = 8.0


def conv_norm(
    inner: int, outer: int, kernel: int = 3, stride: int = 1, *, relu: bool = True
) -> nn.Sequential:
    """Convolution, group norm and, unless a sum follows, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(_groups(outer), outer),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a short cut."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(conv_norm(inner, outer, 3, stride), conv_norm(outer, outer, relu=False))
        same = inner == outer and stride == 1
        self.short = nn.Identity() if same else conv_norm(inner, outer, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.short(x) + self.path(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a short cut; four times as many channels come out as are worked on."""

    def __init__(self, inner: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outer = 4 * planes
        self.path = nn.Sequential(
            conv_norm(inner, planes, 1),
            conv_norm(planes, planes, 3, stride),
            conv_norm(planes, outer, 1, relu=False),
        )
        same = inner == outer and stride == 1
        self.short = nn.Identity() if same else conv_norm(inner, outer, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.short(x) + self.path(x))


class CenterHead(nn.Module):
    """Centre logits and offsets from one feature map."""

    def __init__(self, inner: int, hidden: int, num_points: int) -> None:
        super().__init__()
        self.hidden = conv_norm(inner, hidden)
        self.center = nn.Conv2d(hidden, 1, 1)
        self.offset = nn.Conv2d(hidden, 2 * num_points, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(x)
        # Not under autocast: an offset of 25 cells has steps of an eighth of a cell in bfloat16, a pixel at stride 8.
        with torch.autocast(x.device.type, enabled=False):
            offset_N2Khw = self.offset(x.float()) * OFFSET_UNIT_CELLS
        return self.center(x), offset_N2Khw


def heat_conv(inner: int, num_points: int) -> nn.Conv2d:
    """The 1x1 convolution that ends a heatmap stage: K points and the background."""
    return nn.Conv2d(inner, num_points + 1, 1)


def start(model: nn.Module, heats: list[nn.Conv2d], head: CenterHead) -> None:
    """Weights to begin with: He's for what is followed by a ReLU, outputs near "no face anywhere".

    The paper's code draws every weight from N(0, 0.01^2), with which the signal of a deep stage without norms dies
    out. Outputs begin at 0 for points, 1 for the background, and the centre's prior, so the first steps are not
    spent on unlearning noise.
    """
    for conv in _convs(model):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    for last in (*heats, head.center, head.offset):
        nn.init.normal_(last.weight, std=1e-3)
    for heat in heats:
        with torch.no_grad():
            _bias(heat)[-1] = 1.0
    nn.init.constant_(_bias(head.center), CENTER_PRIOR)


def _convs(model: nn.Module) -> Iterator[nn.Conv2d | nn.ConvTranspose2d]:
    return (module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)))


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None, "an output convolution carries its prior in its bias"
    return conv.bias


def _groups(channels: int) -> int:
    """Groups of eight channels or a little more."""
    return max(1, channels // 8) if channels % max(1, channels // 8) == 0 else 1
