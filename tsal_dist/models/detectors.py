"""A detector by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.models import efficientnet_lite, resnet
from tsal_dist.models.cpm_vgg16 import CpmVgg16
from tsal_dist.models.efficientnet_lite import EfficientNetLite
from tsal_dist.models.hrnet import HrnetW18
from tsal_dist.models.lite import Lite
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.pretrained import Translate, load_pretrained
from tsal_dist.models.pretrained_trunk import OnTrunk
from tsal_dist.models.resnet import ResNet


@dataclass(frozen=True)
class _Kind:
    make: Callable[[int], nn.Module]
    translate: Translate = dict
    """From the names of published weights to the detector's own."""


_DETECTORS: Mapping[str, _Kind] = {
    "cpm_vgg16": _Kind(CpmVgg16),
    "hrnet_w18": _Kind(HrnetW18),
    "lite": _Kind(Lite),
    "lite0": _Kind(lambda points: OnTrunk(EfficientNetLite(), points), efficientnet_lite.from_published),
    "lite1": _Kind(
        lambda points: OnTrunk(EfficientNetLite(depth=1.1), points), efficientnet_lite.from_published
    ),
    "lite2": _Kind(
        lambda points: OnTrunk(EfficientNetLite(width=1.1, depth=1.2), points),
        efficientnet_lite.from_published,
    ),
    "resnet18": _Kind(
        lambda points: OnTrunk(ResNet((2, 2, 2, 2), deep=False), points), resnet.from_published
    ),
    "resnet50": _Kind(lambda points: OnTrunk(ResNet((3, 4, 6, 3), deep=True), points), resnet.from_published),
}


class Detector(Protocol):
    """What a detector has beside being a module."""

    stride: int
    """Pixels per cell of its maps."""
    trunk: tuple[str, ...]
    """Beginnings of the names that pretrained weights must supply."""

    def __call__(self, image_N3HW: Tensor) -> DetectorOutput: ...


def build_detector(name: str, num_points: int, weights: str = "") -> nn.Module:
    """A fresh detector on the CPU, its trunk filled from the file `weights` if one is named."""
    if name not in _DETECTORS:
        raise ConfigError(f"model.detector is {name!r}; it must be one of {', '.join(sorted(_DETECTORS))}.")
    kind = _DETECTORS[name]
    model = kind.make(num_points)
    if weights:
        load_pretrained(model, weights, cast(Detector, model).trunk, kind.translate)
    return model


def stride_of(model: nn.Module) -> int:
    """Pixels per cell of a detector's maps."""
    return cast(Detector, model).stride
