"""A convolution with a batch norm that stays as it was published: what pretrained trunks are made of here."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STATISTICS = {"weight", "bias", "running_mean", "running_var"}


class FrozenConv(nn.Module):
    """A convolution and the batch norm behind it, whose statistics, scale and shift never change.

    A frozen norm is y = scale * conv(x) + shift: the same convolution with scaled filters and a bias. So it costs
    nothing per pixel, forward or backward, while the filters learn at the published scale. There are no statistics
    that a batch could move, in training mode either: a frame's result does not depend on its batch.

    Zeros are padded evenly, or as TensorFlow's "same" pads them: at stride 2 more after than before.
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
        linear: bool = False,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups, self.same = kernel, stride, groups, same
        self.weight = nn.Parameter(torch.empty(outer, inner // groups, kernel, kernel))
        self.register_buffer("scale", torch.ones(outer))
        self.register_buffer("shift", torch.zeros(outer))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear" if linear else "relu")

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale.view(-1, 1, 1, 1)
        padding = self.kernel // 2
        if self.same and self.stride > 1:
            sides = [same_padding(size, self.kernel, self.stride) for size in (x.shape[-1], x.shape[-2])]
            x, padding = F.pad(x, (*sides[0], *sides[1])), 0
        elif self.groups > 1 and min(x.shape[-2:]) < self.kernel:
            # A CPU takes three times as long for the gradient of a filter that is larger than its map and pads it by itself.
            x, padding = F.pad(x, (padding, padding, padding, padding)), 0
        return F.conv2d(x, weight, self.shift, self.stride, padding, groups=self.groups)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, as TensorFlow's "same" has them: just enough, the odd one after."""
    outer = -(-size // stride)
    total = max(0, (outer - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def fold_norm(place: str, norm: Mapping[str, Tensor], epsilon: float) -> dict[str, Tensor]:
    """Scale and shift of the FrozenConv at `place` from the tensors of a batch norm; nothing where one is absent."""
    if not norm.keys() >= _STATISTICS:
        return {}  # reported as lacking
    scale = norm["weight"] * torch.rsqrt(norm["running_var"] + epsilon)
    return {f"{place}.scale": scale, f"{place}.shift": norm["bias"] - norm["running_mean"] * scale}


def take_conv(
    found: Mapping[str, Tensor], conv: str, norm: str, place: str, epsilon: float
) -> tuple[dict[str, Tensor], set[str]]:
    """The tensors of the FrozenConv at `place` from a published convolution and norm, and the names they had."""
    statistics = {key for key in found if key.startswith(f"{norm}.")}
    parts = {key.removeprefix(f"{norm}."): found[key] for key in statistics}
    weight = f"{conv}.weight"
    return {f"{place}.weight": found[weight], **fold_norm(place, parts, epsilon)}, {weight, *statistics}
