"""A small net with all kinds of parameters, and its data: what the engine tests train."""

import torch
from torch import nn

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig

OPTIM = OptimConfig(lr=0.05, weight_decay=0.01, clip_norm=1.0, warmup_steps=2)


class TinyNet(nn.Module):
    def __init__(self, norm):
        super().__init__()
        # A bias in front of a batch norm has no gradient but rounding, which Adam would blow up.
        self.conv = nn.Conv2d(3, 4, 3, bias=norm == "group")
        self.norm = nn.GroupNorm(2, 4) if norm == "group" else nn.BatchNorm2d(4)
        self.head = nn.Linear(64, 5)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).relu().flatten(1))


def build_net(norm="group"):
    torch.manual_seed(0)
    return TinyNet(norm)


def build_batch(step, frames=8):
    draw = torch.Generator().manual_seed(step)
    return torch.randn(frames, 3, 6, 6, generator=draw), torch.randn(frames, 5, generator=draw)


def share(batch, rank, world):
    return tuple(part.chunk(world)[rank] for part in batch)


def take_step(engine, batch):
    """One forward and backward; the mean over equal shares is the global mean."""
    images, wanted = batch
    return engine.step(((engine.forward(images) - wanted) ** 2).mean())


def build_ddp(norm="group", optim=OPTIM, **settings):
    from tsal_dist.engine.ddp import DDPEngine

    return DDPEngine(build_net(norm), EngineConfig(**settings), optim, 50, torch.device("cpu"))


def same(first, second):
    """Whether two flat or nested states hold the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return first == second
