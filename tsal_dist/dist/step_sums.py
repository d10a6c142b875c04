"""One reduction per step: what its loss divides by, and what is only looked at later.

The numbers are added up where they are (NCCL on GPUs, gloo on CPUs), in one collective. Those that the step needs stay
there. The others are copied to the host without waiting, and read a step later, when they have long arrived: a device
that is asked for a number has to finish everything before it, and stands still until it is given more to do.
"""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from tsal_dist.dist.collectives import world_size

Sizes = dict[str, torch.Size]


class StepSums:
    """Sums over the ranks of a role, step by step. Every rank gives the same names and shapes."""

    def __init__(self) -> None:
        self._late: tuple[Sizes, Tensor, torch.cuda.Event | None] | None = None

    def reduce(self, now: Mapping[str, Tensor], late: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sums of `now`, on their device; those of `late` are what `take_late` gives next. Collective.

        float64 inside, so counts stay exact. One tensor carries them all, so what lies elsewhere, as what a plugin made
        without naming a device, is brought to where the first one is.
        """
        values = [*now.values(), *late.values()]
        parts = [value.detach().reshape(-1) for value in values]
        flat = torch.cat([part.to(parts[0].device, torch.float64, non_blocking=True) for part in parts])
        if world_size() > 1:
            dist.all_reduce(flat)
        needed = sum(value.numel() for value in now.values())
        self._late = self._send({name: value.shape for name, value in late.items()}, flat[needed:])
        sums = torch.split(flat[:needed], [value.numel() for value in now.values()])
        return {
            name: part.reshape(value.shape).to(value.dtype)
            for (name, value), part in zip(now.items(), sums, strict=True)
        }

    def take_late(self) -> dict[str, Tensor]:
        """The late sums of the step before, on the host, once; nothing where it had none."""
        if self._late is None:
            return {}
        sizes, there, arrived = self._late
        self._late = None
        if arrived:
            arrived.synchronize()
        parts = torch.split(there, [size.numel() for size in sizes.values()])
        return {name: part.reshape(size) for (name, size), part in zip(sizes.items(), parts, strict=True)}

    def forget(self) -> None:
        """Drop what was not taken: the step that gave it is of a history that is no more."""
        self._late = None

    @staticmethod
    def _send(sizes: Sizes, sums: Tensor) -> tuple[Sizes, Tensor, torch.cuda.Event | None] | None:
        if not sizes:
            return None
        if sums.device.type != "cuda":
            return sizes, sums.clone(), None
        there = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True).copy_(sums, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return sizes, there, arrived
