import cv2
import numpy as np
import pytest
from footage import POINTS_K2

from tsal_dist.errors import ConfigError
from tsal_dist.pack.boxes import choose_box
from tsal_dist.pack.face import Face, build_face
from tsal_dist.pack.face_models import load_detector, model_digest


def test_a_missing_or_wrong_model_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_detector(str(tmp_path / "no.onnx"))
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a network")
    with pytest.raises(ConfigError, match="not a YuNet"):
        load_detector(str(wrong))
    assert len(model_digest(str(wrong))) == 16
    with pytest.raises(ConfigError, match="cannot be read"):
        model_digest(str(tmp_path / "no.onnx"))


class FakeNet:
    """Answers as YuNet does: x y w h, five landmarks, score, in pixels of the image it was given."""

    def __init__(self):
        self.size = None
        self.found = None

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape[1::-1] == self.size
        return 1, self.found


@pytest.fixture
def net(monkeypatch, tmp_path):
    fake = FakeNet()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: fake)
    (tmp_path / "model.onnx").touch()
    return fake, load_detector(str(tmp_path / "model.onnx"))


def test_detections_are_corners_in_source_pixels(net):
    fake, detect = net
    fake.found = np.array([[10, 20, 30, 40, *[0] * 10, 0.9]], np.float32)
    assert detect(np.zeros((100, 200, 3), np.uint8)).tolist() == [pytest.approx([10, 20, 40, 60, 0.9])]
    assert detect(np.zeros((640, 1280, 3), np.uint8)).tolist() == [pytest.approx([20, 40, 80, 120, 0.9])]
    assert fake.size == (640, 320)


def test_no_detection_is_no_box(net):
    _, detect = net
    boxes_N5 = detect(np.zeros((100, 200, 3), np.uint8))
    assert boxes_N5.shape == (0, 5)
    assert choose_box(boxes_N5, Face()) is None


def test_the_box_over_the_landmarks_wins_else_the_best_score():
    boxes_N5 = np.array([[100, 100, 150, 150, 0.99], [18, 18, 46, 42, 0.7]], np.float32)
    assert choose_box(boxes_N5, build_face(POINTS_K2, np.ones(5, np.uint8))) == (18, 18, 46, 42)
    assert choose_box(boxes_N5, Face()) == (100, 100, 150, 150)
