"""The paper's detector: a convolutional pose machine on VGG16, heatmaps at stride 8.

Three stages of maps, each seeing the one before through 7x7 windows, and beside them a branch that finds the
face's centre and the offsets to its landmarks. The branch goes down to stride 32 and comes back up to 8; the
original went on to stride 4 and back again, which adds a layer and no information.
"""

import torch
from torch import Tensor, nn

from tsal_dist.models.layers import Bottleneck, CenterHead, conv_norm, heat_conv, start
from tsal_dist.models.output import DetectorOutput

# VGG16 up to conv4_3, numbered as torchvision numbers it, so that its weights load by name. "M" halves the size.
_VGG = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512)
FEATURES = 128


class CpmVgg16(nn.Module):
    """VGG16's trunk, three stages, one centre branch."""

    stride = 8
    trunk = ("features.",)
    embedding = "narrow"

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.features = _vgg()
        self.narrow = nn.Sequential(*_conv(512, 256), *_conv(256, FEATURES))
        first = [layer for _ in range(4) for layer in _conv(FEATURES, FEATURES)]
        self.stage_1 = nn.Sequential(*first, *_conv(FEATURES, 512, 1), heat_conv(512, num_points))
        self.stage_2 = _stage(num_points)
        self.stage_3 = _stage(num_points)
        self.branch = nn.Sequential(
            Bottleneck(FEATURES, 256, stride=2),
            *(Bottleneck(1024, 256) for _ in range(5)),
            Bottleneck(1024, 512, stride=2),
            *(Bottleneck(2048, 512) for _ in range(2)),
            *_double(2048, 256),
            *_double(256, 256),
        )
        self.head = CenterHead(256, 128, num_points)
        stages = (self.stage_1, self.stage_2, self.stage_3)
        start(self, [last for stage in stages if isinstance(last := stage[-1], nn.Conv2d)], self.head)

    def forward(self, image_N3HW: Tensor) -> DetectorOutput:
        seen = self.narrow(self.features(image_N3HW))
        heat_1 = self.stage_1(seen)
        heat_2 = self.stage_2(torch.cat([seen, heat_1], dim=1))
        heat_3 = self.stage_3(torch.cat([seen, heat_2], dim=1))
        center, offset = self.head(self.branch(seen))
        return DetectorOutput(torch.stack([heat_1, heat_2, heat_3]), center, offset)


def _vgg() -> nn.Sequential:
    layers: list[nn.Module] = []
    inner = 3
    for step in _VGG:
        if isinstance(step, int):
            layers += _conv(inner, step)
            inner = step
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _conv(inner: int, outer: int, kernel: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inner, outer, kernel, padding=kernel // 2), nn.ReLU(inplace=True)


def _stage(num_points: int) -> nn.Sequential:
    inner = FEATURES + num_points + 1
    layers = [*_conv(inner, FEATURES, 7), *_conv(FEATURES, FEATURES, 7), *_conv(FEATURES, FEATURES, 7)]
    layers += [layer for _ in range(4) for layer in _conv(FEATURES, FEATURES)]
    return nn.Sequential(*layers, *_conv(FEATURES, FEATURES, 1), heat_conv(FEATURES, num_points))


def _double(inner: int, outer: int) -> tuple[nn.Module, ...]:
    """Twice the size: nearest cells, then a convolution, which unlike a strided deconvolution weaves no grid."""
    return nn.Upsample(scale_factor=2, mode="nearest"), conv_norm(inner, outer)
