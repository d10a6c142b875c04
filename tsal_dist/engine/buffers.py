"""Norm statistics, which every rank gathers from its own batches, made one before they leave the role."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tsal_dist.dist.collectives import world_size


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Average the floating-point buffers over ranks, in place; counters are equal already. Collective.

    Not done at every step: training in batch mode never reads them, and changing a buffer between two
    forward passes of one step would invalidate the first one's gradient.
    """
    mean_over_ranks(model.buffers())


@torch.no_grad()
def mean_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Average those of floating point over ranks, in place. Collective."""
    mine = [tensor for tensor in tensors if tensor.is_floating_point()]
    if world_size() == 1 or not mine:
        return
    flat = torch.cat([tensor.reshape(-1).float() for tensor in mine])
    dist.all_reduce(flat)
    flat /= world_size()
    parts = torch.split(flat, [tensor.numel() for tensor in mine])
    for tensor, part in zip(mine, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
