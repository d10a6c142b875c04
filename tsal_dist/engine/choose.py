"""The engine that the config asks for. DeepSpeed is imported only if it is the one."""

import torch
from torch import nn

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig
from tsal_dist.engine.api import Engine
from tsal_dist.engine.ddp import DDPEngine


def build_engine(
    model: nn.Module, settings: EngineConfig, optim: OptimConfig, total_steps: int, device: torch.device
) -> Engine:
    """Spread `model` over the ranks of this role; its group is up before. Every rank passes equal weights."""
    if settings.kind == "deepspeed":
        from tsal_dist.engine.deepspeed import DeepSpeedEngine

        return DeepSpeedEngine(model, settings, optim, total_steps, device)
    return DDPEngine(model, settings, optim, total_steps, device)
