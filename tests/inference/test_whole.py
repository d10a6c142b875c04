"""A detector with crop and decoder inside says what it says with ours around it, in torch and as a file."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.inference.squares import SIDE_PX, FlagDetector, draw_flag, finder_of
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.inference.export_whole import export_whole
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.whole import WholeDetector
from tsal_dist.metrics.calibration import fit
from tsal_dist.models.detectors import build_detector

CONFIG = load_config([], ["model.num_points=4", "model.crop_px=64", "model.detector=lite"])
BOXES_N4 = np.array([[52.0, 60, 108, 112], [40, 52, 96, 104], [30, 30, 130, 130]])


def calibration():
    random = np.random.default_rng(0)
    score_NK = random.uniform(0, 1, (600, 4))
    return fit(score_NK, 9 * (1.1 - score_NK) * random.uniform(0, 1, (600, 4)), np.ones((600, 4), np.bool_))


def rgb(image_HWC):
    return np.ascontiguousarray(image_HWC[..., ::-1])


def test_it_says_what_the_finder_says():
    finder = finder_of(FlagDetector())
    known = calibration()
    whole = WholeDetector(Trained(FlagDetector(), CONFIG, "flag"), known)
    image_HWC = draw_flag((80, 85), 52)
    look = finder.look(image_HWC, list(BOXES_N4))
    points_NK2, expected_NK, score_NK = whole(
        torch.from_numpy(rgb(image_HWC)), torch.from_numpy(BOXES_N4).float()
    )
    np.testing.assert_allclose(points_NK2, look.points_CK2, atol=0.4)
    np.testing.assert_allclose(score_NK, look.score_CK, atol=0.02)
    stated_NK = known.expected_px(score_NK.double()).numpy() / look.zoom_C[:, None]
    np.testing.assert_allclose(expected_NK, stated_NK, rtol=1e-4)


def test_without_a_calibration_no_error_is_claimed():
    whole = WholeDetector(Trained(FlagDetector(), CONFIG, "flag"), None)
    _, expected_NK, _ = whole(
        torch.from_numpy(rgb(draw_flag((80, 85), 52))), torch.from_numpy(BOXES_N4).float()
    )
    assert expected_NK.isnan().all()


# What a reader of the file needs: nothing of ours, and no torch.
EXAMPLE = """
import sys
import numpy as np
from onnxruntime import InferenceSession

session = InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image_HW3 = np.load(sys.argv[2])
box_N4 = np.array([[52, 60, 108, 112]], np.float32)
points_NK2, expected_px_NK, score_NK = session.run(None, {"image_HW3": image_HW3, "box_N4": box_N4})
assert "torch" not in sys.modules and "tsal_dist" not in sys.modules
np.save(sys.argv[3], points_NK2)
"""


@pytest.mark.slow
def test_the_file_needs_a_runtime_and_nothing_else(tmp_path):
    torch.manual_seed(0)
    trained = Trained(build_detector("lite", 4).eval(), CONFIG, "fresh")
    path = tmp_path / "new" / "w.onnx"
    assert export_whole(trained, path, None) < 0.05
    image_HW3 = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX + 30, 3)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image_HW3)
    argv = [str(path), str(tmp_path / "image.npy"), str(tmp_path / "points.npy")]
    subprocess.run([sys.executable, "-c", EXAMPLE, *argv], check=True, cwd=tmp_path, timeout=120)
    with torch.no_grad():
        box_N4 = torch.from_numpy(BOXES_N4[:1]).float()
        points_NK2, _, _ = WholeDetector(trained, None)(torch.from_numpy(image_HW3), box_N4)
    np.testing.assert_allclose(np.load(tmp_path / "points.npy"), points_NK2, atol=0.05)


def test_only_onnx_is_whole(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_whole(Trained(FlagDetector(), CONFIG, "flag"), tmp_path / "w.pt2", None)
