"""An ONNX file that takes pictures and boxes and gives points: checked against the detector before anyone gets it."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch

from tsal_dist.errors import CheckpointError, MissingExtra
from tsal_dist.inference.trained import CONFIG_NOTE, Trained
from tsal_dist.inference.trust import Trust
from tsal_dist.inference.whole import WholeDetector
from tsal_dist.outputs import check_file, written_whole

INPUTS, OUTPUTS = ("image_HW3", "box_N4"), ("points_NK2", "expected_px_NK", "score_NK")
TOLERANCE_PX = 0.05
"""Largest difference of a point from torch's that a file may have, on a picture of another size than it was made with."""


def export_whole(trained: Trained, path: Path, trust: Trust | None) -> float:
    """Write `path`, an .onnx; the largest difference of a point found, in pixels. A wrong file is not left."""
    check_file("--out", path, (".onnx",))
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch's exporter needs it and would fail halfway)
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "export", "An ONNX file") from None
    whole = WholeDetector(trained, trust.calibration if trust else None).eval()
    any_size = {0: torch.export.Dim("height"), 1: torch.export.Dim("width")}
    with written_whole(path) as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            torch.onnx.export(
                whole,
                _example(120, 160, trained.config.model.crop_px),
                aside,
                dynamo=True,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_shapes=dict(zip(INPUTS, (any_size, {0: torch.export.Dim("boxes")}), strict=True)),
                external_data=False,
                verbose=False,
            )
        graph = onnx.load(aside)
        note = json.dumps(trained.config.model_dump(mode="json"))
        onnx.helper.set_model_props(graph, {CONFIG_NOTE: note, "name": trained.name})
        onnx.save(graph, aside)
        session = InferenceSession(str(aside), providers=["CPUExecutionProvider"])
        image_HW3, box_N4 = _example(90, 210, trained.config.model.crop_px)
        found = session.run(None, dict(zip(INPUTS, (image_HW3.numpy(), box_N4.numpy()), strict=True)))
        with torch.no_grad():
            expected = whole(image_HW3, box_N4)
        difference_px = float(np.abs(np.asarray(found[0]) - expected[0].numpy()).max())
        if not difference_px <= TOLERANCE_PX:
            raise CheckpointError(
                f"{path} was not written: reloaded, its points differ by {difference_px:.2g} px, where "
                f"{TOLERANCE_PX:g} is allowed. Export the maps instead (without --whole) and report this."
            )
    return difference_px


def _example(height: int, width: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and two boxes, one reaching beyond its edge."""
    draw = torch.Generator().manual_seed(0)
    image_HW3 = torch.randint(0, 256, (height, width, 3), generator=draw, dtype=torch.uint8)
    return image_HW3, torch.tensor([[20.0, 15.0, 85.0, 75.0], [-10.0, 5.0, side / 2, side / 2]])
