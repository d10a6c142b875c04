"""What batch norms do when a role has several ranks. Group norms, which most detectors here have, see one frame; HRNet
has batch norms.

own      each rank gathers its own statistics; they are averaged before they leave the role
sync     statistics over the batches of all ranks, at every step
frozen   statistics as they are in the weights the run starts from
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.errors import ConfigError


def prepare_batch_norms(
    model: nn.Module, settings: EngineConfig, device: torch.device, world: int
) -> nn.Module:
    """The model with norms that do what `settings.batch_norm` says. Before its optimiser is made."""
    norms = list_batch_norms(model)
    if settings.batch_norm != "sync" or not norms or world == 1:
        return model
    if device.type == "cpu":
        raise ConfigError(
            f"batch_norm is 'sync' and this role computes on CPUs, where torch has no synchronised batch norm "
            f"({len(norms)} in this detector). Set runtime.<role>.batch_norm=own or frozen."
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call, no-any-return]


def list_batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def freeze_batch_norms(model: nn.Module, settings: EngineConfig) -> None:
    """Keep frozen norms from learning, whatever mode the model was put into since."""
    if settings.batch_norm == "frozen":
        for norm in list_batch_norms(model):
            norm.eval()


def mixes_frames(model: nn.Module, settings: EngineConfig) -> bool:
    """Whether what the model learns of a frame depends on the others in its batch."""
    return settings.batch_norm != "frozen" and bool(list_batch_norms(model))


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Training passes within leave the running statistics as they are: hard views are not what is looked at later."""
    momenta = [(norm, norm.momentum) for norm in list_batch_norms(model)]
    for norm, _ in momenta:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
