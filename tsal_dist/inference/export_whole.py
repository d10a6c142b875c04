"""An ONNX file that takes pictures and boxes and gives points: checked against the detector before anyone gets it."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.errors import CheckpointError
from tsal_dist.inference.graph_file import Runner, write_graph
from tsal_dist.inference.trained import CONFIG_NOTE, Trained
from tsal_dist.inference.trust import Trust
from tsal_dist.inference.whole import WholeDetector
from tsal_dist.inference.whole_note import INPUTS, OUTPUTS, WholeNote
from tsal_dist.outputs import check_file, written_whole
from tsal_dist.records import Layout

TOLERANCE_PX = 0.05
"""Largest difference of a point, or of its expected error, from torch's that a file may have, on a picture of another size
than it was made with."""
TOLERANCE = 0.01
"""Likewise of a score, and of how alike the two descriptions of the points are."""


def export_whole(trained: Trained, path: Path, trust: Trust | None) -> float:
    """Write `path`, an .onnx; the largest difference of a point or its expected error found, in pixels. A wrong file is not
    left."""
    check_file("--out", path, (".onnx",))
    # Measuring may have left the net on a GPU.
    whole = WholeDetector(trained, trust.calibration if trust else None).eval().cpu()
    image_HW3, box_N4 = _example(120, 160, trained.config.model.crop_px)
    inputs = {INPUTS[0]: (image_HW3, {0: "height", 1: "width"}), INPUTS[1]: (box_N4, {0: "boxes"})}
    config = {CONFIG_NOTE: json.dumps(trained.config.model_dump(mode="json"))}
    with written_whole(path) as aside:
        notes = config | note_of(trained, trust).to_metadata()
        run = write_graph(whole, aside, inputs, OUTPUTS, notes)
        difference_px, difference = compare(whole, run, trained.config.model.crop_px)
        if not (difference_px <= TOLERANCE_PX and difference <= TOLERANCE):
            raise CheckpointError(
                f"{path} was not written: reloaded, its points differ by {difference_px:.2g} px and its scores by "
                f"{difference:.2g}, where {TOLERANCE_PX:g} and {TOLERANCE:g} are allowed. Export the maps instead "
                f"(without --whole) and report this."
            )
    return difference_px


def note_of(trained: Trained, trust: Trust | None) -> WholeNote:
    """What the file says of itself."""
    model = trained.config.model
    layout = Layout(model.layout.names, model.layout.skeleton)
    presence, only_errors = (trust.presence, not trust.presence) if trust else (None, False)
    return WholeNote(
        *(trained.name, model.num_points, layout, model.crop_px, trained.expand), presence, only_errors
    )


@torch.no_grad()
def compare(whole: WholeDetector, run: Runner, crop_px: int) -> tuple[float, float]:
    """Largest difference of a point or its expected error, in pixels, and of a score or an agreement."""
    image_HW3, box_N4 = _example(90, 210, crop_px)
    ours = dict(zip(OUTPUTS, whole(image_HW3, box_N4), strict=True))
    theirs = dict(zip(OUTPUTS, run({INPUTS[0]: image_HW3, INPUTS[1]: box_N4}), strict=True))
    off = {name: _furthest(ours[name].numpy(), theirs[name]) for name in OUTPUTS}
    return max(off["points_NK2"], off["expected_px_NK"]), max(off["score_NK"], off["agreement_N"])


def _furthest(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Largest difference; what is no number on both sides is the same."""
    both = np.isnan(ours) & np.isnan(theirs)
    return float(np.abs(np.where(both, 0, theirs - ours)).max())


def _example(height: int, width: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and two boxes, one reaching beyond its edge."""
    draw = torch.Generator().manual_seed(0)
    image_HW3 = torch.randint(0, 256, (height, width, 3), generator=draw, dtype=torch.uint8)
    return image_HW3, torch.tensor([[20.0, 15.0, 85.0, 75.0], [-10.0, 5.0, side / 2, side / 2]])
