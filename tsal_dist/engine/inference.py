"""A model run for its answers alone: under an engine's precision and memory format, without a graph."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tsal_dist.config.runtime import EngineConfig


class Inference(nn.Module):
    """Calls a model as the engine with these settings does, in evaluation mode; the model's mode stays as it was.

    Also for a model that no engine trains: what is judged must be seen with the eyes that it labels with.
    """

    def __init__(
        self, model: nn.Module, settings: EngineConfig, device: torch.device, compiled: bool = False
    ) -> None:
        super().__init__()
        self.net = model.to(device)
        if settings.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._settings = settings
        self._device = device
        self._call: tuple[Callable[..., Any]] = (torch.compile(model) if compiled else model,)

    @property
    def call(self) -> Callable[..., Any]:
        """The model, or what was compiled of it."""
        return self._call[0]

    @property
    def embedding(self) -> str | None:
        """Where the model has its embedding, for `EmbeddingTap`."""
        name = getattr(self.net, "embedding", None)
        return f"net.{name}" if isinstance(name, str) else None

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        training = self.net.training
        if training:
            self.net.eval()
        try:
            with autocast(self._settings, self._device):
                return self.call(*as_laid_out(inputs, self._settings))
        finally:
            if training:
                self.net.train()

    def holds(self, weights: Mapping[str, Tensor]) -> bool:
        """Whether it answers with these weights already."""
        mine = self.net.state_dict()
        return mine.keys() == weights.keys() and all(
            torch.equal(value, weights[name].to(value.device)) for name, value in mine.items()
        )

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Answer with these weights from now on."""
        self.net.load_state_dict(weights)


def autocast(settings: EngineConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16")


def as_laid_out(inputs: Sequence[Any], settings: EngineConfig) -> list[Any]:
    """Pictures in the memory format that the weights have; a mixture is rearranged at every convolution."""
    return [_lay_out(value, settings) for value in inputs]


def _lay_out(value: Any, settings: EngineConfig) -> Any:
    if settings.channels_last and isinstance(value, Tensor) and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
