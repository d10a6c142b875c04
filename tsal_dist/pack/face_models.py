"""Face detectors by the name that a person gives, the same for `pack` and `predict`: BlazeFace, or a YuNet from a file."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError
from tsal_dist.pack.blazeface import blazeface_file, load_blazeface
from tsal_dist.pack.boxes import Detector

BLAZEFACE = "blazeface"

_MIN_SCORE = 0.6
_LONGEST_PX = 640  # YuNet was trained on faces of 10 to 300 px; larger pictures are shrunk for it


def load_detector(name: str) -> Detector:
    """What finds faces in a picture."""
    return load_blazeface(blazeface_file()) if name == BLAZEFACE else _load_yunet(name)


def model_digest(name: str) -> str:
    """What a plan remembers of a face model."""
    path = blazeface_file() if name == BLAZEFACE else Path(name)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"The face model {path} cannot be read: {error.strerror}. Check --face-model."
        ) from error


def _load_yunet(path: str) -> Detector:
    if not Path(path).is_file():
        raise ConfigError(
            f"The face model {path} does not exist. Name the file of a YuNet (.onnx), or `{BLAZEFACE}`."
        )
    try:
        net = cv2.FaceDetectorYN.create(path, "", (320, 320), _MIN_SCORE)
    except cv2.error as error:
        raise ConfigError(f"{path} is not a YuNet face model that OpenCV can load: {error.err}.") from error

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
