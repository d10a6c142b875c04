"""What finds subjects, by the name that a person gives, the same for `pack` and `predict`: for faces BlazeFace or a YuNet
from a file, for any other subject a box model that `tsal boxes` learnt from its labels."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError
from tsal_dist.pack.blazeface import blazeface_file, load_blazeface
from tsal_dist.pack.boxes import Detector, apart, fit_square, leave_square

BLAZEFACE = "blazeface"
BOX_MODEL = ".safetensors"
"""What the name of a box model's file ends in."""
ALIKE = 0.5
"""Boxes of a box model that overlap by more (intersection over union) are of one subject."""

FindInSquare = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""RGB square to boxes with scores, counted from the middle of its first pixel."""

_MIN_SCORE = 0.6
_LONGEST_PX = 640  # YuNet was trained on faces of 10 to 300 px; larger pictures are shrunk for it


def load_detector(name: str) -> Detector:
    """What finds subjects in a picture."""
    if name == BLAZEFACE:
        return load_blazeface(blazeface_file())
    return _load_box_model(name) if Path(name).suffix == BOX_MODEL else _load_yunet(name)


def model_digest(name: str) -> str:
    """What a plan remembers of it."""
    path = blazeface_file() if name == BLAZEFACE else Path(name)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"The model {path} cannot be read: {error.strerror}. Check --face-model or --box-model."
        ) from error


def detector_in_square(find: FindInSquare, side_px: int, threshold: float) -> Detector:
    """A net that sees the whole picture in a square of RGB bytes, as a detector."""

    def detect(image_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        square_SS3, scale_2, corner_2 = fit_square(image_HWC, side_px)
        found_N5 = find(np.ascontiguousarray(square_SS3[..., ::-1]))
        sure_N5 = found_N5[found_N5[:, 4] >= threshold] + np.array([0.5, 0.5, 0.5, 0.5, 0], np.float32)
        return leave_square(apart(sure_N5, ALIKE), scale_2, corner_2)

    return detect


def _load_box_model(name: str) -> Detector:
    try:
        from tsal_dist.models.box_net import open_box_net
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The box model {name} needs {error.name}, which is not installed. Install it with: pip install torch safetensors"
        ) from None
    net, note = open_box_net(Path(name))
    return detector_in_square(net.find, note.side_px, note.threshold)


def _load_yunet(path: str) -> Detector:
    if not Path(path).is_file():
        raise ConfigError(
            f"The face model {path} does not exist. Name the file of a YuNet (.onnx), a box model ({BOX_MODEL}), or "
            f"`{BLAZEFACE}`."
        )
    try:
        net = cv2.FaceDetectorYN.create(path, "", (320, 320), _MIN_SCORE)
    except cv2.error as error:
        raise ConfigError(
            f"{path} is not a YuNet face model that OpenCV can load: {error.err}. Name the file of one (.onnx), or of a box model "
            f"({BOX_MODEL})."
        ) from error

    def detect(image_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = image_HWC.shape[:2]
        scale = min(1.0, _LONGEST_PX / max(height, width))
        small = cv2.resize(image_HWC, None, fx=scale, fy=scale) if scale < 1 else image_HWC
        net.setInputSize((small.shape[1], small.shape[0]))
        _, found = net.detect(small)
        if found is None:
            return np.empty((0, 5), np.float32)
        x, y, w, h = found[:, :4].T / scale
        return np.stack([x, y, x + w, y + h, found[:, -1]], axis=1).astype(np.float32)

    return detect
