"""What a training step needs of a machine's memory, told before any of it is taken.

The detector is built and run with torch's fake tensors, which have shapes and no contents: what its backward pass
would keep is counted exactly and costs nothing.
"""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector

COPIES = 5
"""Of the weights: themselves, their gradients, AdamW's two moments, and the average."""
AHEAD = 4
"""Batches of pictures that are read ahead, and the one in use."""
REPEATS = 4
"""A batch that shows every labelled frame more often than so teaches no more than a smaller one."""
ALWAYS_FINE = 64
"""Labelled frames in a batch that are never called too many."""


@dataclass(frozen=True)
class Need:
    """Bytes of one process."""

    weights: int
    kept: int
    """For the backward pass of a batch."""
    pictures: int

    @property
    def total(self) -> int:
        return self.weights + self.kept + self.pictures

    def describe(self) -> str:
        parts = (("weights", self.weights), ("backward pass", self.kept), ("pictures", self.pictures))
        return f"{self.total / 1e9:.2f} GB (" + ", ".join(f"{name} {n / 1e9:.2f}" for name, n in parts) + ")"


def need_of(config: RunConfig) -> Need:
    """What a student's rank needs: a batch of labelled and of unlabelled frames, in float32, one piece of it at a time."""
    with FakeTensorMode():
        return _count(config, build_detector(config.model.detector, config.model.num_points))


def _count(config: RunConfig, model: nn.Module) -> Need:
    size = config.model.crop_px
    frames = config.train.labelled_batch + config.pseudo_batch
    own = {_storage(value) for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def count(value: Tensor) -> Tensor:
        if _storage(value) not in own:
            kept[_storage(value)] = value.untyped_storage().nbytes()
        return value

    with saved_tensors_hooks(count, lambda value: value):
        output = model(torch.zeros(1, 3, size, size))
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    pictures = 3 * size * size * frames * (AHEAD + 4)  # bytes as read, and one batch as floats
    del output
    at_once = -(-frames // config.runtime.student.accumulate)
    return Need(COPIES * weights, sum(kept.values()) * at_once, pictures)


def refuse_too_much(config: RunConfig, labelled_frames: int, have_bytes: int | None = None) -> None:
    """ConfigError where a batch is larger than the data or the machine can be meant for."""
    batch = config.train.labelled_batch
    if batch > max(ALWAYS_FINE, REPEATS * labelled_frames):
        raise ConfigError(
            f"train.labelled_batch is {batch} and data.labelled holds {labelled_frames} labelled frames: every batch "
            f"would show each of them {batch // max(1, labelled_frames)} times. Lower it to {labelled_frames} or less."
        )
    need, have = need_of(config), have_bytes if have_bytes is not None else machine_bytes()
    if need.total > have:
        raise ConfigError(
            f"A step of {batch} labelled and {config.pseudo_batch} unlabelled frames needs about {need.describe()}, and this "
            f"machine has {have / 1e9:.1f} GB. Lower train.labelled_batch, train.unlabelled_batch or model.crop_px, or cut the "
            "batch into pieces (runtime.student.accumulate)."
        )


def machine_bytes() -> int:
    """Memory of the device that trains: the first GPU's, else the machine's."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _storage(value: Tensor) -> int:
    """Views of one tensor share it, and count once."""
    return int(value.untyped_storage()._cdata)
