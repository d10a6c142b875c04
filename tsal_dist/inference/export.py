"""A trained detector as one file for others, checked against the detector itself before anyone gets it.

.safetensors   tensors by name, and the config they belong to: `predict --weights` needs nothing else
.onnx          a graph that runtimes in any language execute
.pt2           torch.export's program, for torch without this library

Graphs take any number of normalised crops and give heatmaps, centre map and offsets.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tsal_dist import __version__
from tsal_dist.errors import CheckpointError
from tsal_dist.inference.graph_file import write_graph
from tsal_dist.inference.trained import CONFIG_NOTE, Trained, load_weights
from tsal_dist.inference.trust import Trust
from tsal_dist.models.input import normalize
from tsal_dist.outputs import check_file, written_whole

Outputs = list[Tensor]
Reloaded = Callable[[Tensor], Outputs]

TOLERANCE = 1e-3
"""Largest difference from the detector that a file may have, as a share of the largest output: rounding, no more."""
CHECKED_CROPS = 3
ENDINGS = (".safetensors", ".onnx", ".pt2")
INPUT, OUTPUTS = "image_N3HW", ("heat_SNKhw", "center_N1hw", "offset_N2Khw")


class PlainOutputs(nn.Module):
    """The detector with a plain tuple of tensors: a file should not need our class to be read."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_N3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heat_SNKhw, center_N1hw, offset_N2Khw = self.model(image_N3HW)
        return heat_SNKhw, center_N1hw, offset_N2Khw


def export(trained: Trained, path: Path, trust: Trust | None = None) -> float:
    """Write `path`, in the form that its name asks for; the largest difference found. A wrong file is not left.

    `trust`, what was measured of the detector, lies beside its tensors.
    """
    writers: dict[str, Callable[[Trained, Path], Reloaded]] = {
        ".safetensors": partial(_write_tensors, trust),
        ".onnx": _write_onnx,
        ".pt2": _write_program,
    }
    check_file("--out", path, ENDINGS)
    trained.model.cpu()  # measuring may have left it on a GPU
    with written_whole(path) as aside:
        reloaded = writers[path.suffix.lower()](trained, aside)
        difference = compare(trained.model, reloaded, trained.config.model.crop_px)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{path} was not written: reloaded, it differs from the detector by {difference:.2g} of the largest "
                f"output, where {TOLERANCE:g} is allowed. Export to another form and report this one."
            )
    return difference


@torch.no_grad()
def compare(model: nn.Module, reloaded: Reloaded, crop_px: int) -> float:
    """Largest difference of any output on random crops, as a share of the largest number in that output."""
    crops_N3HW = _random_crops(CHECKED_CROPS, crop_px)
    pairs = zip(model(crops_N3HW), reloaded(crops_N3HW), strict=True)
    shares = [(ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-12) for ours, theirs in pairs]
    return float(torch.stack(shares).max())


def _write_tensors(trust: Trust | None, trained: Trained, path: Path) -> Reloaded:
    note = {CONFIG_NOTE: json.dumps(trained.config.model_dump(mode="json")), "name": trained.name}
    tensors = {name: value.contiguous() for name, value in trained.model.state_dict().items()}
    tensors |= trust.to_tensors() if trust else {}
    save_file(tensors, path, metadata=note | {"format": "pt", "version": __version__})
    again = load_weights(path).model
    return lambda crops_N3HW: list(again(crops_N3HW))


def _write_program(trained: Trained, path: Path) -> Reloaded:
    example = (_random_crops(2, trained.config.model.crop_px),)
    any_count = {INPUT: {0: torch.export.Dim("frames")}}
    program = torch.export.export(PlainOutputs(trained.model), example, dynamic_shapes=any_count)
    torch.export.save(program, path)
    again = torch.export.load(path).module()
    return lambda crops_N3HW: list(again(crops_N3HW))


def _write_onnx(trained: Trained, path: Path) -> Reloaded:
    example_N3HW = _random_crops(2, trained.config.model.crop_px)
    note = {CONFIG_NOTE: json.dumps(trained.config.model_dump(mode="json"))}
    run = write_graph(
        PlainOutputs(trained.model), path, {INPUT: (example_N3HW, {0: "frames"})}, OUTPUTS, note
    )
    return lambda crops_N3HW: [torch.from_numpy(each) for each in run({INPUT: crops_N3HW})]


def _random_crops(count: int, crop_px: int) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (count, crop_px, crop_px, 3), generator=draw, dtype=torch.uint8)
    return normalize(crops).contiguous()
