import cv2
import numpy as np
import pytest
from footage import POINTS_K2

from tsal_dist.errors import ConfigError
from tsal_dist.pack.boxes import apart, choose_box, fit_square, leave_square
from tsal_dist.pack.face import Face, annotated_box, build_face
from tsal_dist.pack.subject_models import load_detector, model_digest


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


def test_labelled_landmarks_that_no_box_covers_are_not_where_another_subject_is():
    boxes_N5 = np.array([[100, 100, 150, 150, 0.99]], np.float32)
    assert choose_box(boxes_N5, build_face(POINTS_K2, np.ones(5, np.uint8))) is None


@pytest.mark.parametrize("points_K2", [[[30, 20]], [[24, 20], [40, 20]]])
def test_a_lone_landmark_and_a_row_of_them_are_not_where_another_subject_is_either(points_K2):
    boxes_N5 = np.array([[100, 100, 150, 150, 0.99], [18, 18, 46, 42, 0.7]], np.float32)
    face = build_face(np.array(points_K2), np.ones(len(points_K2), np.uint8))
    assert choose_box(boxes_N5, face) == (18, 18, 46, 42)
    assert choose_box(boxes_N5[:1], face) is None


def test_landmarks_in_a_row_have_a_box_that_is_a_quarter_as_wide():
    def box_of(*points_K2):
        return annotated_box(build_face(np.array(points_K2), np.ones(len(points_K2), np.uint8)))

    assert box_of([10, 20], [50, 20]) == (10, 15, 50, 25)
    assert box_of([10, 20], [10.5, 60]) == (5.25, 20, 15.25, 60)
    assert box_of([10, 20], [50, 22]) == (10, 20, 50, 22), "what has an area keeps it"
    assert box_of([10, 20], [10, 20]) is None


def test_boxes_that_overlap_a_better_one_are_left_out():
    boxes_N5 = np.array(
        [[0, 0, 10, 10, 0.5], [1, 0, 11, 10, 0.9], [6, 0, 16, 10, 0.4], [30, 0, 40, 10, 0.7]], np.float32
    )
    assert apart(boxes_N5, 0.5)[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.4])
    assert apart(np.empty((0, 5), np.float32), 0.5).shape == (0, 5)


def test_a_square_is_left_as_it_was_entered():
    image_HWC = np.zeros((100, 200, 3), np.uint8)
    image_HWC[20:40, 50:90] = 255
    square_SS3, scale_2, corner_2 = fit_square(image_HWC, 100)
    y, x = np.nonzero(square_SS3.min(2) > 127)
    edges_5 = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1, 0.9]], np.float32)
    assert leave_square(edges_5, scale_2, corner_2).tolist() == [pytest.approx([49.5, 19.5, 89.5, 39.5, 0.9])]
