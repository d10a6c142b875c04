"""A detector that is one file, run by onnxruntime: no torch, and nothing of the run that it came from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tsal_dist.errors import CheckpointError, ConfigError, MissingExtra
from tsal_dist.geometry import affine
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.looking import Box, Floats, Look, look_at_nothing
from tsal_dist.inference.pictures import Image
from tsal_dist.inference.presence import Presence
from tsal_dist.inference.threads import choose_threads
from tsal_dist.inference.unknown import NOT_EXPORTED, say_unknown
from tsal_dist.inference.whole_note import INPUTS, OUTPUTS, WholeNote

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What executes the graph: the first that the installed runtime has."""


@dataclass(frozen=True)
class Stated:
    """What was measured of the detector before it became a file."""

    presence: Presence | None

    def expected_px(self, look: Look) -> Floats:
        """By how much the points CK are expected to be off, in pixels of the picture."""
        assert look.expected_px_CK is not None, "the file's own look"
        return look.expected_px_CK


class WholeFile:
    """Looks into boxes by the file's graph, which crops and decodes itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = _open_session(path, 1)
        self.note = WholeNote.from_metadata(self._session.get_modelmeta().custom_metadata_map, str(path))
        self.num_points, self.layout = self.note.num_points, self.note.layout

    def use_threads(self, threads: int) -> None:
        """From now on."""
        self._session = _open_session(self._path, threads)

    def closely(self, image_HWC: Image, box_4: Box) -> Look:
        """Landmarks within one box; the file knows one way to decode."""
        return self.look(image_HWC, [box_4])

    def look(self, image_HWC: Image, boxes: Sequence[Box]) -> Look:
        """Landmarks within boxes, which the graph grows as in training."""
        note = self.note
        matrices = [affine.crop(box_4, note.crop_px, expand=note.box_expand) for box_4 in boxes]
        given = (cv2.cvtColor(image_HWC, cv2.COLOR_BGR2RGB), np.stack(boxes).astype(np.float32))
        found = self._session.run(list(OUTPUTS), dict(zip(INPUTS, given, strict=True)))
        points_CK2, expected_CK, score_CK, agreement_C = (np.asarray(each, np.float64) for each in found)
        zoom_C = np.array([affine.magnification(matrix) for matrix in matrices])
        return Look(points_CK2, score_CK, agreement_C, zoom_C, expected_CK)


def open_whole(path: str | Path, threads: int = 0) -> Detector:
    """The detector of a file that `tsal export --whole` wrote. It runs on as many threads as are worth it."""
    eyes = WholeFile(Path(path))
    choose_threads(lambda: look_at_nothing(eyes), eyes.use_threads, os.cpu_count() or 1, threads)
    note = eyes.note
    stated = Stated(note.presence) if note.presence or note.only_errors else None
    return Detector(eyes, stated, note.name, say_unknown(stated, NOT_EXPORTED, note.num_points))


def _open_session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise MissingExtra(error.name or "onnxruntime", "onnx", "An exported detector") from None
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Name one that `tsal export --whole` wrote.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; its warnings are about its own optimisations
    there = onnxruntime.get_available_providers()
    providers = [name for name in PROVIDERS if name in there]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
    ) as error:
        why = str(error).rpartition("failed:")[2].strip().splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"{path} is no graph that onnxruntime executes: {why}. Export it again with `tsal export --whole`."
        ) from None
