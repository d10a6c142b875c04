"""Counts what would make a GPU wait, on tensors that lie on a CPU: numbers asked for, and numbers sent along.

`float(x)`, `x.item()`, `if x:` ask the device for a number; `x.cpu()`, `x.numpy()`, `x.tolist()` for many; so do indexing
with a mask and `nonzero`, whose result has a size that only the device knows. `torch.tensor(..., device=...)` sends
numbers and waits until they are there.
"""

import traceback
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
ASKED = {
    _ATEN._local_scalar_dense.default,
    _ATEN.nonzero.default,
    _ATEN.masked_select.default,
    _ATEN._unique2.default,
    _ATEN.is_nonzero.default,
}
CALLED = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.item}


ON_THE_HOST = "_take_in_late_sums"
"""What is read in this function arrived a step ago."""


def _place():
    """The line of the library that asked; None where the number lies on the host."""
    stack = traceback.extract_stack()
    if any(frame.name == ON_THE_HOST for frame in stack):
        return None
    ours = [frame for frame in stack if "/tsal_dist/" in frame.filename]
    return f"{ours[-1].filename.rpartition('/tsal_dist/')[2]}:{ours[-1].lineno}" if ours else "?"


def _note(found, what):
    place = _place()
    if place:
        found.append(f"{what} at {place}")


class _Dispatched(TorchDispatchMode):
    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func is _ATEN.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if func in ASKED or masked:
            _note(self._found, func)
        return func(*args, **(kwargs or {}))


class _Called(TorchFunctionMode):
    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        sent = func is torch.tensor and (kwargs or {}).get("device") is not None
        if func in CALLED or sent:
            _note(self._found, getattr(func, "__name__", func))
        return func(*args, **(kwargs or {}))


@contextmanager
def host_reads():
    """A list that fills with each such thing done in the block."""
    found: list[str] = []
    with _Called(found), _Dispatched(found):
        yield found
