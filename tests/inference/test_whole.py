"""A detector with crop and decoder inside says what it says with ours around it, in torch and as a file."""

import numpy as np
import pytest
import torch

from tests.inference.squares import FlagDetector, draw_flag, finder_of
from tsal_dist.config import load_config
from tsal_dist.errors import CheckpointError, ConfigError
from tsal_dist.inference import export_whole as page
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
    points_NK2, expected_NK, score_NK, agreement_N = whole(
        torch.from_numpy(rgb(image_HWC)), torch.from_numpy(BOXES_N4).float()
    )
    np.testing.assert_allclose(points_NK2, look.points_CK2, atol=0.4)
    np.testing.assert_allclose(score_NK, look.score_CK, atol=0.02)
    np.testing.assert_allclose(agreement_N, look.agreement_C, atol=0.02)
    stated_NK = known.expected_px(score_NK.double()).numpy() / look.zoom_C[:, None]
    np.testing.assert_allclose(expected_NK, stated_NK, rtol=1e-4)


def test_without_a_calibration_no_error_is_claimed():
    whole = WholeDetector(Trained(FlagDetector(), CONFIG, "flag"), None)
    _, expected_NK, _, _ = whole(
        torch.from_numpy(rgb(draw_flag((80, 85), 52))), torch.from_numpy(BOXES_N4).float()
    )
    assert expected_NK.isnan().all()


@pytest.mark.parametrize("size_hw", [(90, 210), (300, 40)])
def test_crops_of_all_boxes_are_those_of_each(size_hw):
    """They are sampled as one grid."""
    whole = WholeDetector(Trained(FlagDetector(), CONFIG, "flag"), None)
    image_HW3 = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*size_hw, 3)).astype(np.uint8))
    box_N4 = torch.from_numpy(BOXES_N4).float()
    together, apart = whole(image_HW3, box_N4), [whole(image_HW3, box_14) for box_14 in box_N4.split(1)]
    for one, parts in zip(together, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(one, torch.cat(parts), equal_nan=True)


@pytest.mark.slow
def test_a_file_that_says_something_else_is_not_left(tmp_path, monkeypatch):
    """As if the exporter had lost something: other numbers come back."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    trained = Trained(build_detector("lite", 4).eval(), CONFIG, "fresh")
    path = tmp_path / "new" / "w.onnx"
    assert export_whole(trained, path, None) < 0.05
    written = path.read_bytes()
    write_graph = page.write_graph

    def write_wrong(*words):
        run = write_graph(*words)
        return lambda inputs: [array + 0.06 for array in run(inputs)]

    monkeypatch.setattr(page, "write_graph", write_wrong)
    with pytest.raises(CheckpointError, match=r"its points differ by 0\.0\d+ px and its scores by 0\.06"):
        export_whole(trained, path, None)
    assert path.read_bytes() == written, "the file that was there before"


def test_only_onnx_is_whole(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_whole(Trained(FlagDetector(), CONFIG, "flag"), tmp_path / "w.pt2", None)
