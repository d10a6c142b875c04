"""Weights from a local file into a detector, with a report of every key.

A safetensors file, or a torch file of plain tensors (never a pickled object). Nothing is downloaded.
"""

import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  (the name of torch's error; nothing here unpickles)

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tsal_dist.errors import ConfigError

log = logging.getLogger(__name__)

# What checkpoints of others wrap their tensors in.
_ENVELOPES = ("state_dict", "model")
# What torch's reader of plain tensors runs into in a file that is none.
_BROKEN = (
    UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)
_PREFIXES = ("module.", "backbone.")

Translate = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""From the tensors of a published file to those of the detector; what it does not know it leaves as it is."""


@dataclass(frozen=True)
class KeyReport:
    """What became of every key of the model and of the file."""

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    """Of the model, and not in the file, or there with another shape: they keep their initial values."""
    unused: tuple[str, ...]
    """Of the file, and not in the model."""

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} loaded, {len(self.fresh)} fresh ({_few(self.fresh)}), "
            f"{len(self.unused)} unused ({_few(self.unused)})"
        )


def load_pretrained(
    model: nn.Module, path: str | Path, trunk: tuple[str, ...], translate: Translate = dict
) -> KeyReport:
    """Copy every tensor whose name and shape fit; refuse a file that leaves part of the trunk untouched.

    `trunk` holds the beginnings of the names that the file must supply. Heads may stay fresh: they depend on the
    number of landmarks.
    """
    found = translate(_read(Path(path)))
    wanted = model.state_dict()
    fitting = {name: tensor for name, tensor in found.items() if _fits(wanted, name, tensor)}
    # Files older than batch norm's step counter lack it, and it changes nothing unless momentum is None.
    needed = [name for name in wanted if name.startswith(trunk) and not name.endswith("num_batches_tracked")]
    lacking = tuple(name for name in needed if name not in fitting)
    if lacking:
        raise ConfigError(
            f"{path} does not fit this detector's trunk: {len(lacking)} of {len(needed)} tensors are absent or have "
            f"another shape ({_few(lacking)}). Give weights of the same architecture, or leave model.weights empty."
        )
    model.load_state_dict(wanted | fitting)
    report = KeyReport(
        loaded=tuple(fitting),
        fresh=tuple(name for name in wanted if name not in fitting),
        unused=tuple(name for name in found if name not in fitting),
    )
    log.info("%s: %s", path, report)
    return report


def require_file(path: Path) -> None:
    """Refuse what is no file, under the setting's name."""
    if not path.is_file():
        raise ConfigError(
            f"model.weights names {str(path)!r}, which is not a file. Nothing is ever downloaded."
        )


def _fits(wanted: dict[str, Tensor], name: str, tensor: Tensor) -> bool:
    return name in wanted and wanted[name].shape == tensor.shape


def _read(path: Path) -> dict[str, Tensor]:
    require_file(path)
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (*_BROKEN, safetensors.SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{path} cannot be read as plain tensors: {reason}. Save its state dict as safetensors."
        ) from error
    for envelope in _ENVELOPES:
        if isinstance(content, dict) and isinstance(content.get(envelope), dict):
            content = content[envelope]
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, not named tensors. Save a state dict.")
    return {_bare(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
