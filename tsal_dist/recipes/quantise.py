"""Weights of few bits while forward and backward run: the gradient is taken at the rounded point, the step from the exact one.

Each bucket of a layer's weights has its own range, cut into even steps. What is no matrix (norms, biases) stays as it is, and
so do the first layer, which sees pixels, and those that give the maps: they are few weights, and most is lost there.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from tsal_dist.errors import ConfigError

BUCKET = 256
"""Weights that share a range."""


def rounded(weight: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits values from the lowest to the highest of each bucket."""
    flat = weight.flatten()
    size = min(BUCKET, len(flat))
    # The last bucket is filled up with its own last weight, so that its range is its own.
    bucket_BN = torch.cat([flat, flat[-1:].expand(-len(flat) % size)]).view(-1, size)
    low_B1 = bucket_BN.amin(1, keepdim=True)
    step_B1 = (bucket_BN.amax(1, keepdim=True) - low_B1) / (2**bits - 1)
    count_BN = torch.round((bucket_BN - low_B1) / step_B1.clamp_min(torch.finfo(flat.dtype).tiny))
    near: Tensor = (low_B1 + step_B1 * count_BN).flatten()[: len(flat)]
    return near.view_as(weight)


def in_bits(bits: int, points: int) -> Callable[[nn.Module], AbstractContextManager[None]]:
    """What a recipe holds around a step of a net that finds so many points."""

    @contextmanager
    def around(net: nn.Module) -> Iterator[None]:
        if any(hasattr(weight, "ds_tensor") for weight in net.parameters()):
            raise ConfigError(
                "The method rounds weights, and ZeRO stage 3 keeps a part of them in each process. Use stage 0, 1 or 2 for the "
                "student."
            )
        kept = {weight: weight.detach().clone() for weight in _layers(net, points)}
        with torch.no_grad():
            for weight in kept:
                weight.copy_(rounded(weight, bits))
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, exact in kept.items():
                    weight.copy_(exact)

    return around


def _layers(net: nn.Module, points: int) -> list[nn.Parameter]:
    """The weights of all layers but the first, and but those that give the maps of an output: as many as it has, each cell
    by itself, and no norm after them. A hidden layer of that width has one, or looks around."""
    outputs = (points + 1, 1, 2 * points)
    giving = {
        layer.weight
        for layer in net.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
        and layer.bias is not None
        and len(layer.weight) in outputs
        and all(side == 1 for side in layer.weight.shape[2:])
    }
    matrices = [weight for weight in net.parameters() if weight.dim() > 1]
    return [weight for weight in matrices[1:] if weight not in giving]
