"""A graph that runtimes in any language execute: written by torch's exporter with notes, and run to be checked."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tsal_dist.errors import MissingExtra

MOST = 1 << 20
"""How long an axis of any length may be: the exporter of torch 2.6 refuses one without an end."""

Runner = Callable[[Mapping[str, Tensor]], list[NDArray[Any]]]
"""Every output of a graph, for its inputs by name."""


def write_graph(
    module: nn.Module,
    path: Path,
    inputs: Mapping[str, tuple[Tensor, Mapping[int, str]]],
    outputs: Sequence[str],
    notes: Mapping[str, str],
) -> Runner:
    """Write `module` as an .onnx, and run what was written. Each input is an example, and names for the axes that may be
    of any length; `notes` become the file's metadata."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch's exporter needs it and would fail halfway)
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "export", "An ONNX file") from None
    sizes = {
        name: {axis: torch.export.Dim(word, max=MOST) for axis, word in axes.items()}
        for name, (_, axes) in inputs.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        # It also tells of each operator of torchvision's that it does without.
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module,
            tuple(example for example, _ in inputs.values()),
            path,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=sizes,
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, dict(notes))
    onnx.save(graph, path)
    return _runner(path)


def _runner(path: Path) -> Runner:
    """The runtime where it is installed, else the slow evaluator that defines what a graph means."""
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        run = ReferenceEvaluator(str(path)).run
    else:
        run = InferenceSession(str(path), providers=["CPUExecutionProvider"]).run
    return lambda inputs: [
        np.asarray(each) for each in run(None, {name: value.numpy() for name, value in inputs.items()})
    ]
