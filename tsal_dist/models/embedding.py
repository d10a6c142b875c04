"""A detector's embedding: the features that its heatmaps are read from, and what they are at a point.

A detector names the layer that gives it (`embedding`); nothing else of it has to change.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.heatmap import pixel_to_cell
from tsal_dist.geometry.warp import sample


class EmbeddingTap:
    """While it is open, the last embedding that the net computed is `taken`: N x D x h x w."""

    def __init__(self, net: nn.Module) -> None:
        name = getattr(net, "embedding", None)
        if not isinstance(name, str):
            raise ConfigError(
                f"{type(net).__name__} names no layer as its embedding, and the method reads one. Give the class an "
                f"attribute such as embedding = 'neck', the name of the layer whose output the heatmaps come from."
            )
        self._layer = net.get_submodule(name)
        self._close: Callable[[], None] = lambda: None
        self.taken = torch.empty(0)

    def __enter__(self) -> "EmbeddingTap":
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.taken = output

        self._close = self._layer.register_forward_hook(take).remove
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


@torch.no_grad()
def embedding_width(net: nn.Module) -> int:
    """Channels of the net's embedding: asked of the net itself, with a small empty picture."""
    training = net.training
    net.eval()
    with EmbeddingTap(net) as tap:
        net(torch.zeros(1, 3, 64, 64, device=next(net.parameters()).device))
    net.train(training)
    return int(tap.taken.shape[1])


def sample_at(features_NDhw: Tensor, points_NK2: Tensor, size_px: int) -> Tensor:
    """Features_NKD at points in pixels of a square picture of `size_px`; outside of it the border's."""
    return sample(features_NDhw, pixel_to_cell(points_NK2.float(), size_px / features_NDhw.shape[-1]))
