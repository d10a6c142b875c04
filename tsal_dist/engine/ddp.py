"""The plain engine: DistributedDataParallel where there are ranks to share with, the bare model otherwise."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig
from tsal_dist.dist.collectives import world_size
from tsal_dist.engine.api import nothing
from tsal_dist.engine.batch_norms import freeze_batch_norms, prepare_batch_norms
from tsal_dist.engine.buffers import average_buffers
from tsal_dist.engine.inference import Inference, as_laid_out, autocast
from tsal_dist.engine.optim import (
    build_optimizer,
    check_names,
    check_optimizer,
    learning_rate,
    read_optimizer,
    write_optimizer,
)

# The gradient of a 1x1 convolution may come with other strides over the same order of elements. DDP remarks on that
# once per process; there is nothing that anyone could do about it, and nothing to gain.
warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


class DDPEngine:
    """See `tsal_dist.engine.api.Engine`.

    Every rank passes a model with the same initial weights. Every parameter takes part in every loss, with
    weight zero if need be: DDP waits for the gradients of all of them.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: EngineConfig,
        optim: OptimConfig,
        total_steps: int,
        device: torch.device,
    ) -> None:
        world = world_size()
        model = prepare_batch_norms(model.to(device), settings, device, world)
        # Compiled apart from the model, and DDP as a whole: torch then cuts the graph where a bucket is full, so that
        # gradients travel while others are still computed. A compiled model inside DDP sends them all at the end.
        self._inference = Inference(model, settings, device, compiled=settings.compile)
        self._model = model
        self._settings = settings
        self._optim = optim
        self._total_steps = total_steps
        self._device = device
        self._optimizer = build_optimizer(model, optim)
        self._steps = 0
        self._micro = 0
        self._called: Callable[..., Any] = self._inference.call
        if world > 1:
            wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
            # Buffers stay apart until they leave the role: see average_buffers. Set afterwards, because the
            # argument's name differs between versions of torch and the attribute's does not.
            wrapped.broadcast_buffers = False
            if settings.compile:
                wrapped.compile()
            self._called = wrapped

    @property
    def model(self) -> nn.Module:
        return self._model

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def lr(self) -> float:
        return learning_rate(self._steps, self._total_steps, self._optim)

    def forward(self, *inputs: Any) -> Any:
        freeze_batch_norms(self._model, self._settings)
        if isinstance(self._called, DistributedDataParallel):
            # What DDP's no_sync() sets, for a step whose forwards and backward are in different places.
            self._called.require_backward_grad_sync = self._micro + 1 == self._settings.accumulate
        with autocast(self._settings, self._device):
            return self._called(*as_laid_out(inputs, self._settings))

    @property
    def infer(self) -> Inference:
        return self._inference

    def step(self, loss: Tensor, before_update: Callable[[], None] = nothing) -> Tensor | None:
        (loss / self._settings.accumulate).backward()  # type: ignore[no-untyped-call]
        before_update()
        self._micro += 1
        if self._micro < self._settings.accumulate:
            return None
        self._micro = 0
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._optim.clip_norm or math.inf)
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        return norm

    def full_weights(self) -> dict[str, Tensor]:
        average_buffers(self._model)
        return {name: value.detach().to("cpu", copy=True) for name, value in self._model.state_dict().items()}

    def replace_weights(self, weights: Mapping[str, Tensor]) -> None:
        check_names(self._model.state_dict(), weights, "weights file")
        self._model.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        average_buffers(self._model)
        return {
            "weights": dict(self._model.state_dict()),
            "optimizer": read_optimizer(self._optimizer, self._model),
            "optimizer_name": self._optim.name,
            "steps": self._steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_optimizer(state, self._optim)
        self.replace_weights(state["weights"])
        write_optimizer(self._optimizer, self._model, state["optimizer"])
        self._steps = int(state["steps"])
        self._micro = 0
