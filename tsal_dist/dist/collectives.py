"""Small facts that the ranks of one role share: sums, flags, JSON objects, rows.

All of them act on the default process group (the role) with CPU tensors, and return at once in a world of
one. JSON and not pickled objects: what arrives is data, whoever sent it.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

_INLINE_BYTES = 4096  # a JSON object up to this size crosses in one broadcast, as a step's plan should
_HEADER_BYTES = 8


def sum_tensors(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sum over ranks of every tensor, in one collective; every rank gives the same names and shapes.

    For numbers that a loss divides by. float64 inside, so counts stay exact; dtype and device are kept.
    """
    if world_size() == 1 or not values:
        return dict(values)
    flat = torch.cat([value.detach().reshape(-1).to("cpu", torch.float64) for value in values.values()])
    dist.all_reduce(flat)
    parts = torch.split(flat, [value.numel() for value in values.values()])
    return {
        name: part.reshape(value.shape).to(value.device, value.dtype)
        for (name, value), part in zip(values.items(), parts, strict=True)
    }


def reduce_scalars(
    values: Mapping[str, float], how: Literal["sum", "mean", "max"] = "mean"
) -> dict[str, float]:
    """Plain numbers reduced over ranks in rank order, so every rank gets the same bits.

    Names may differ between ranks: a number is reduced over those that have it. For metrics, not for a step.
    """
    ranks = gather_json(dict(values))
    names = dict.fromkeys(name for given in ranks for name in given)
    reduced = {}
    for name in names:
        numbers = [float(given[name]) for given in ranks if name in given]
        if how == "max":
            reduced[name] = max(numbers)
        else:
            reduced[name] = sum(numbers) / (len(numbers) if how == "mean" else 1)
    return reduced


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank."""
    if world_size() == 1:
        return flag
    flags = torch.tensor([int(flag)])
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def broadcast_json(value: Any) -> Any:
    """`value` of rank 0, on every rank. Others may pass None."""
    if world_size() == 1:
        return value
    buffer = torch.zeros(_INLINE_BYTES + _HEADER_BYTES, dtype=torch.uint8)
    payload = b""
    if dist.get_rank() == 0:
        payload = json.dumps(value).encode()
        head = len(payload).to_bytes(_HEADER_BYTES, "little") + payload[:_INLINE_BYTES]
        buffer[: len(head)] = _to_tensor(head)
    dist.broadcast(buffer, 0)
    head = buffer.numpy().tobytes()
    size = int.from_bytes(head[:_HEADER_BYTES], "little")
    if size > _INLINE_BYTES:
        rest = _to_tensor(payload[_INLINE_BYTES:]) if payload else torch.empty(size - _INLINE_BYTES).byte()
        dist.broadcast(rest, 0)
        head += rest.numpy().tobytes()
    return json.loads(head[_HEADER_BYTES : _HEADER_BYTES + size])


def broadcast_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's CPU tensors on every rank, in one piece; others may pass none. What comes shares one buffer."""
    if world_size() == 1:
        return dict(tensors)
    # Wide numbers first, so that each begins where one of its width may.
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    whole = {name: tensors[name].contiguous() for name in order}
    about = broadcast_json(
        [(name, str(value.dtype).removeprefix("torch."), value.shape) for name, value in whole.items()]
    )
    dtypes, shapes = [getattr(torch, dtype) for _, dtype, _ in about], [shape for _, _, shape in about]
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True)]
    buffer = torch.empty(sum(sizes), dtype=torch.uint8)
    if whole:
        torch.cat([value.reshape(-1).view(torch.uint8) for value in whole.values()], out=buffer)
    if len(buffer):
        dist.broadcast(buffer, 0)
    return {
        name: part.view(dtype).reshape(shape)
        for (name, _, _), part, dtype, shape in zip(
            about, torch.split(buffer, sizes), dtypes, shapes, strict=True
        )
    }


def gather_json(value: Any) -> list[Any]:
    """What every rank passed, in rank order, on every rank."""
    if world_size() == 1:
        return [value]
    rows = gather_rows(_to_tensor(json.dumps(value).encode() + b"\n"))
    return [json.loads(line) for line in rows.numpy().tobytes().splitlines()]


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all ranks below each other, in rank order, on every rank; counts may differ, even be zero.

    Shapes behind the first axis and dtypes are the same on every rank.
    """
    if world_size() == 1:
        return rows
    rows = rows.detach().cpu().contiguous()
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    sizes = [int(count) for count in counts]
    padded = torch.zeros((max(sizes), *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    if max(sizes):
        dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def world_size() -> int:
    """Of the group that collectives run in; 1 where there is none."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _to_tensor(data: bytes) -> Tensor:
    # bytearray: torch warns about memory that it could write but must not.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
