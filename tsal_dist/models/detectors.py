"""A detector by its name: one of this package, or anybody's (`plugins`): a file, a module, an installed package's.

Somebody else's is a function or a class that gives a module for a number of points. It has a `stride` and gives a
DetectorOutput; it may have a `trunk`. What it gives is looked at once, when it is built.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from tsal_dist.config.model import DETECTOR_GROUP
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
from tsal_dist.plugins import faults_in, file_of, find_place

FACE_POINTS = 68
LOOK_PX = 64
"""Side of the crop on which somebody else's detector is looked at."""


@dataclass(frozen=True)
class _Kind:
    about: str
    make: Callable[[int], nn.Module]
    translate: Translate = dict
    """From the names of published weights to the detector's own."""


def _on_lite(about: str, **size: float) -> _Kind:
    return _Kind(
        about,
        lambda points: OnTrunk(EfficientNetLite(**size), points),
        efficientnet_lite.from_published,
    )


def _on_resnet(about: str, blocks: Sequence[int], deep: bool) -> _Kind:
    return _Kind(about, lambda points: OnTrunk(ResNet(blocks, deep=deep), points), resnet.from_published)


_DETECTORS: Mapping[str, _Kind] = {
    "lite": _Kind("a small U of plain convolutions for one CPU core, from random weights", Lite),
    "lite0": _on_lite("on EfficientNet-Lite0 from ImageNet, for one CPU core"),
    "lite1": _on_lite("on EfficientNet-Lite1 from ImageNet", depth=1.1),
    "lite2": _on_lite("on EfficientNet-Lite2 from ImageNet", width=1.1, depth=1.2),
    "resnet18": _on_resnet("on ResNet-18, for a published file of weights", (2, 2, 2, 2), deep=False),
    "resnet50": _on_resnet("on ResNet-50, for a published file of weights", (3, 4, 6, 3), deep=True),
    "hrnet_w18": _Kind("four resolutions side by side: the strong one, for a GPU", HrnetW18),
    "cpm_vgg16": _Kind("the paper's: a convolutional pose machine on VGG16", CpmVgg16),
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
    kind = _DETECTORS.get(name) or _Kind("", lambda points: _build_foreign(name, points))
    model = kind.make(num_points)
    if weights:
        load_pretrained(model, weights, getattr(model, "trunk", ()), kind.translate)
    return model


def tell(name: str) -> str:
    """What it is, how large, in two lines."""
    model = build_detector(name, FACE_POINTS)
    kind = _DETECTORS.get(name)
    about = kind.about if kind else next(iter((type(model).__doc__ or "").strip().splitlines()), "")
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    size = f"{millions:.2f} M parameters for {FACE_POINTS} points, {stride_of(model)} pixels per cell"
    return f"{name:12} {about}\n{'':12} {size}"


def stride_of(model: nn.Module) -> int:
    """Pixels per cell of a detector's maps."""
    return cast(Detector, model).stride


@cache
def find_stride(name: str, num_points: int) -> int:
    """That of a detector by its name. It is built for that, once in a process."""
    return stride_of(build_detector(name, num_points))


def _build_foreign(name: str, points: int) -> nn.Module:
    found = find_place(name, "model.detector", DETECTOR_GROUP)
    make = getattr(*found, None) if found else None
    if found is None or not callable(make):
        raise ConfigError(
            f"model.detector is {name!r}, and there is no such detector. There are {', '.join(sorted(_DETECTORS))}; a file "
            f"of your own is named as my_net.py:Net, where Net(68) gives a module for 68 points."
        )
    with faults_in(file_of(found.module), f"The detector {name!r} fails when it is built or shown a crop"):
        model = make(points)
        if not isinstance(model, nn.Module) or not isinstance(getattr(model, "stride", None), int):
            raise ConfigError(
                f"The detector {name!r} gave a {type(model).__name__}. It must give a torch.nn.Module with an attribute "
                f"`stride`, the pixels per cell of its maps."
            )
        _look_at(name, model, points)
    return model


@torch.no_grad()
def _look_at(name: str, model: nn.Module, points: int) -> None:
    """Refuse maps of other shapes than a loss or a decoder will take them for."""
    training, cells = model.training, LOOK_PX // stride_of(model)
    given = model.eval()(torch.zeros(2, 3, LOOK_PX, LOOK_PX))
    model.train(training)
    if not isinstance(given, DetectorOutput):
        raise ConfigError(
            f"The detector {name!r} gives a {type(given).__name__} for a batch of crops. It must give a "
            f"tsal_dist.models.output.DetectorOutput."
        )
    stages = given.heat_SNKhw.shape[:1]
    wanted = ((*stages, 2, points + 1), (2, 1), (2, 2 * points))
    for part, value, shape in zip(given._fields, given, wanted, strict=True):
        if tuple(value.shape) != (*shape, cells, cells):
            raise ConfigError(
                f"The detector {name!r} gives {part} of shape {tuple(value.shape)} for 2 crops of {LOOK_PX} pixels, "
                f"{points} points and a stride of {stride_of(model)}. It must be {(*shape, cells, cells)}."
            )
