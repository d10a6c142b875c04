"""A whole file whose convolutions count in bytes: a quarter of the size, and faster where a processor multiplies bytes.

It is another detector than the one it came from. So what it states, how far a point is off and whether there is a subject, is
measured of the file itself, and a file that is much worse is not left.
"""

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import CheckpointError, MissingExtra
from tsal_dist.inference.detector import OnFrame
from tsal_dist.inference.export_whole import export_whole
from tsal_dist.inference.labelled_frames import read_frames
from tsal_dist.inference.looking import Eyes, Floats
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.trust import measure_trust
from tsal_dist.inference.whole_file import WholeFile
from tsal_dist.inference.whole_note import INPUTS
from tsal_dist.outputs import check_file, written_whole

MOST_WORSE = 1.1
"""The file's error on held-out frames, as a share of the detector's, that is still worth its smaller size."""
RANGE_FRAMES = 100
"""Labelled frames of the training that say in which range each layer's numbers lie."""


@dataclass(frozen=True)
class Errors:
    """Mean distance of the landmarks of held-out frames, as a share of the crop's side."""

    detector: float
    file: float


def export_small(
    trained: Trained, path: Path, seen: ShardSet, held_out: ShardSet, on_frame: OnFrame
) -> Errors:
    """Write `path`, an .onnx. `seen` are labelled frames that were trained on, `held_out` some that were not."""
    check_file("--out", path, (".onnx",))
    crop_px = trained.config.model.crop_px
    with tempfile.TemporaryDirectory() as folder, written_whole(path) as aside:
        large, small = Path(folder) / "large.onnx", Path(folder) / "small.onnx"
        export_whole(trained, large, None)
        _count_in_bytes(large, small, seen, crop_px)
        eyes = WholeFile(small)
        errors = _measure(WholeFile(large), eyes, held_out, crop_px)
        if not errors.file <= MOST_WORSE * errors.detector:
            raise CheckpointError(
                f"{path} was not written: in bytes its points are {errors.file:.2%} of the crop off on held-out frames, and "
                f"{errors.detector:.2%} before; {MOST_WORSE - 1:.0%} more are allowed. Export it without --int8."
            )
        # Once more with what was measured inside: the layers' ranges do not depend on it.
        trust = measure_trust(eyes, held_out, crop_px, on_frame)
        export_whole(trained, large, trust)
        _count_in_bytes(large, aside, seen, crop_px)
    return errors


def _measure(detector: Eyes, file: Eyes, shards: ShardSet, crop_px: int) -> Errors:
    """Both look at the same boxes."""
    off: tuple[list[Floats], list[Floats]] = ([], [])
    for frame in read_frames(shards, crop_px):
        for eyes, found in zip((detector, file), off, strict=True):
            found.append(frame.off_px(eyes.look(frame.image_HWC, [frame.box_4]))[frame.placed_K])
    return Errors(*(float(np.concatenate(found).mean()) / crop_px for found in off))


def _count_in_bytes(large: Path, small: Path, shards: ShardSet, crop_px: int) -> None:
    """Convolutions only: points are decoded in full, as a byte of a coordinate would be a pixel or two."""
    import onnx

    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise MissingExtra(error.name or "onnxruntime", "export", "An ONNX file in bytes") from None

    class Frames(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        """What quantize_static asks for one by one."""

        def __init__(self) -> None:
            self._inputs = _inputs(shards, crop_px)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._inputs, None)

    fused = large.with_name("fused.onnx")
    with redirect_stdout(io.StringIO()):  # it prints how it goes
        # Norms become a part of the convolutions before them.
        quant_pre_process(large, fused, skip_symbolic_shape=True)
        quantize_static(
            fused,
            small,
            Frames(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # The ends of a range, that hardly any number comes near to, are cut off.
            calibrate_method=CalibrationMethod.Percentile,
        )
    graph, notes = onnx.load(small), onnx.load(large, load_external_data=False).metadata_props
    onnx.helper.set_model_props(graph, {note.key: note.value for note in notes})
    onnx.save(graph, small)


def _inputs(shards: ShardSet, crop_px: int) -> Iterator[Mapping[str, Any]]:
    for found in read_frames(shards, crop_px, most=RANGE_FRAMES):
        image_HW3 = np.ascontiguousarray(found.image_HWC[..., ::-1])
        yield dict(zip(INPUTS, (image_HW3, found.box_4[None].astype(np.float32)), strict=True))
