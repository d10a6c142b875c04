"""Where the face is, when no annotation says so: the whole frame, or a YuNet detector that the user names."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import Box, Face, tight_box

Detector = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""BGR image to boxes with scores: N rows x1 y1 x2 y2 score."""

_MIN_SCORE = 0.6
_LONGEST_PX = 640  # YuNet was trained on faces of 10 to 300 px; larger pictures are shrunk for it


def load_detector(path: str) -> Detector:
    """YuNet from an ONNX file."""
    if not Path(path).is_file():
        raise ConfigError(f"The face model {path} does not exist. Download a YuNet ONNX file and name it.")
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


def model_digest(path: str) -> str:
    """What a plan remembers of a face model."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"The face model {path} cannot be read: {error.strerror}. Check --face-model."
        ) from error


def full_box(image_HWC: NDArray[np.uint8]) -> Box:
    """From the centre of the first pixel to that of the last."""
    height, width = image_HWC.shape[:2]
    return (0.0, 0.0, width - 1.0, height - 1.0)


def choose_box(boxes_N5: NDArray[np.float32], face: Face) -> Box | None:
    """The detected box that covers the labelled face best, or the one with the best score; None without any."""
    if not len(boxes_N5):
        return None
    target = tight_box(face)
    merit = boxes_N5[:, 4] if target is None else _overlap(boxes_N5[:, :4], np.array(target))
    x1, y1, x2, y2 = boxes_N5[int(np.argmax(merit)), :4].tolist()
    return (x1, y1, x2, y2)


def _overlap(boxes_N4: NDArray[np.float32], target_4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union with one box."""
    inner = np.minimum(boxes_N4[:, 2:], target_4[2:]) - np.maximum(boxes_N4[:, :2], target_4[:2])
    shared = np.prod(np.clip(inner, 0, None), axis=1)
    area = np.prod(boxes_N4[:, 2:] - boxes_N4[:, :2], axis=1) + np.prod(target_4[2:] - target_4[:2])
    overlap: NDArray[np.float64] = shared / (area - shared)
    return overlap
