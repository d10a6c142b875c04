"""A detector by its name."""

from collections.abc import Callable
from typing import Protocol, cast

from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.models.cpm_vgg16 import CpmVgg16
from tsal_dist.models.hrnet import HrnetW18
from tsal_dist.models.lite import Lite
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.pretrained import load_pretrained

_DETECTORS: dict[str, Callable[[int], nn.Module]] = {
    "cpm_vgg16": CpmVgg16,
    "hrnet_w18": HrnetW18,
    "lite": Lite,
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
    model = _DETECTORS[name](num_points)
    if weights:
        load_pretrained(model, weights, cast(Detector, model).trunk)
    return model


def stride_of(model: nn.Module) -> int:
    """Pixels per cell of a detector's maps."""
    return cast(Detector, model).stride
