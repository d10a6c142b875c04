"""Norm statistics, which every rank gathers from its own batches, made one before they leave the role."""

import torch
import torch.distributed as dist
from torch import nn

from tsal_dist.dist.collectives import world_size


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Average the floating-point buffers over ranks, in place; counters are equal already. Collective.

    Not done at every step: training in batch mode never reads them, and changing a buffer between two
    forward passes of one step would invalidate the first one's gradient.
    """
    if world_size() == 1:
        return
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = torch.cat([buffer.reshape(-1).float() for buffer in buffers])
    dist.all_reduce(flat)
    flat /= world_size()
    parts = torch.split(flat, [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
