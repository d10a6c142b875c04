"""A device that is not the host, without one: what is on it has sizes and no numbers, and goes with nothing of the host.

torch lets Python register a device, and `FakeTensorMode` gives it tensors. Two that are not on one device refuse each other,
as they would on a GPU, and so does whoever asks for a number. Registered for good: only in a process of its own.
"""

import traceback
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tsal_dist.config import RunConfig
from tsal_dist.config.runtime import EngineConfig, RuntimeConfig
from tsal_dist.config.train import OptimConfig, TrainConfig
from tsal_dist.engine.ddp import DDPEngine
from tsal_dist.metrics.gauge import CollapseGauge
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes import mixing
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.recipes.conformance import trial as trial_page
from tsal_dist.recipes.conformance.trial import WATCHED, Trial, watch
from tsal_dist.roles import student as student_page
from tsal_dist.roles.student import Student

NAME = "elsewhere"
MAY_SEND = ("beside",)
"""What brings numbers to a device without a wait."""
MAKERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class Small(nn.Module):
    """A detector of two layers: what is looked at is around it."""

    stride, embedding = 4, "trunk"

    def __init__(self, name, points):
        super().__init__()
        self.parts = (points + 1, 1, 2 * points)
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, sum(self.parts), 1)

    def forward(self, image_N3HW):
        heat, center, offset = self.head(self.trunk(image_N3HW).relu()).split(self.parts, 1)
        return DetectorOutput(heat.unsqueeze(0), center, offset)


@cache
def register():
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME)
    # What autocast wants to know of any device.
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]


def there(value):
    """The same shapes on the other device."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=NAME)
    if is_dataclass(value):
        return replace(value, **{each.name: there(getattr(value, each.name)) for each in fields(value)})
    return {name: there(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def move(net):
    for module in net.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(there(weight), weight.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else there(buffer)
    return net


class _Sent(TorchDispatchMode):
    """Notes what is copied from the host to the device by anything that would wait for it."""

    def __init__(self, found, fake):
        super().__init__()
        self._found, self._fake = found, fake

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and not isinstance(args[0], FakeTensor):
            args = (
                self._fake.from_tensor(args[0]),
            )  # a number from before: torch would look for the device itself
        result = func(*args, **(kwargs or {}))
        given = args[1] if func is torch.ops.aten.copy_.default else args[0] if args else None
        copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        if copies and given.device.type == "cpu" and result.device.type == NAME:
            _note(self._found, "sent")
        return result


class _Made(TorchFunctionMode):
    """Notes lists of numbers that are made into tensors there, and lists that tensors there are indexed with."""

    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in MAKERS and result.device.type == NAME:
            _note(self._found, "made of numbers")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and args[0].device.type == NAME:
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | np.ndarray) for part in parts):
                _note(self._found, "indexed by a list")
        return result


def _note(found, what):
    ours = [frame for frame in traceback.extract_stack() if "/tsal_dist/" in frame.filename]
    if ours and not any(frame.name in MAY_SEND for frame in ours):
        found.append(f"{what} at {ours[-1].filename.rpartition('/tsal_dist/')[2]}:{ours[-1].lineno}")


@contextmanager
def elsewhere(found):
    """Tensors have no numbers here, and what waits is noted."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, _Sent(found, fake), _Made(found):
        yield


def one_step(trial, accumulate=1):
    """The student's own step of a method that has seen much, on the other device; what of it would wait."""
    recipe, pseudo = trial.recipe(), trial.pseudo()
    watch(recipe, pseudo.evidence, WATCHED)
    net, looked_at = trial.student(recipe), []
    taught = mixing._taught

    # It reads on the host, as it must to draw what is covered: what it read on a CPU is given again.

    def on_the_host(targets):
        looked_at.append(taught(targets))
        return looked_at[-1]

    with mock.patch.object(mixing, "_taught", on_the_host):
        trial.lessons(recipe)
    looked_at = mock.Mock(side_effect=looked_at)
    found = []
    with (
        elsewhere(found),
        mock.patch.object(mixing, "_taught", looked_at),
        mock.patch.object(nn.Module, "to", lambda net, *a, **k: net),  # it is there already
        mock.patch.object(student_page, "stack_frames", return_value=there(trial.labelled)),
    ):
        settings = EngineConfig(accumulate=accumulate)
        engine = DDPEngine(move(net), settings, OptimConfig(name="sgd", momentum=0), 100, torch.device(NAME))
        engine._steps = 5  # of no line of metrics
        given = SimpleNamespace(pseudo=there(pseudo))
        feed = SimpleNamespace(take=lambda plan: given, consumer=SimpleNamespace(damaged=[]), unreadable=0)
        student = Student(
            config=RunConfig(
                train=TrainConfig(steps=100, burn_in_steps=0), runtime=RuntimeConfig(student=settings)
            ),
            recipe=recipe,
            rank=0,
            world=1,
            engine=engine,
            task=trial.task,
            stream=iter([None]),
            average=StepAverage(net, 0.9),
            gauge=CollapseGauge(),
            feed=feed,
            planner=None,
            coming={5: SimpleNamespace(rows_per_rank=len(pseudo.frames))},
        )
        student.step()
        late = student.sums.take_late()
    assert engine.steps == 6
    assert set(late) == {"moments", "peak", "lost"}
    assert {value.device.type for value in student.average.tensors.values()} == {NAME}
    return found


def problems_of(rank, world, methods):
    """Of each method under some settings what goes wrong in a step there; an empty list of those that are right."""
    register()
    found = []
    for name, settings, accumulate in methods:
        try:
            with mock.patch.object(trial_page, "build_detector", Small):
                found.append(one_step(Trial(name, settings), accumulate))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            ours = [at for at in traceback.extract_tb(error.__traceback__) if "/tsal_dist/" in at.filename]
            place = f"{ours[-1].filename.rpartition('/tsal_dist/')[2]}:{ours[-1].lineno}" if ours else "?"
            found.append([f"{type(error).__name__} at {place}: {str(error)[:300]}"])
    return found
