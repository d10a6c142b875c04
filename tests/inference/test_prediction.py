"""Landmarks on footage: the box follows the face, tables and overlays hold every frame."""

import csv

import cv2
import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch import nn

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.inference.overlay import open_overlay
from tsal_dist.inference.prediction import (
    Finder,
    Picture,
    count_pictures,
    follow,
    read_pictures,
    spread_boxes,
)
from tsal_dist.inference.table import write_table
from tsal_dist.inference.trained import Trained
from tsal_dist.models.input import MEAN_RGB, STD_RGB
from tsal_dist.models.output import DetectorOutput

SIDE_PX, SQUARE_PX = 160, 24


class SquareDetector(nn.Module):
    """Four landmarks at the corners of what is bright; low peaks everywhere where nothing is."""

    stride = 4

    def forward(self, image_N3HW):
        mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in (MEAN_RGB, STD_RGB))
        bright_NHW = ((image_N3HW * std_3 + mean_3).mean(1) > 0.5).float()
        size = image_N3HW.shape[-1]
        axis = torch.arange(float(size))
        points, seen = [], []
        for bright_HW in bright_NHW:
            columns, rows = axis[bright_HW.amax(0) > 0], axis[bright_HW.amax(1) > 0]
            found = len(columns) > 0
            x1, x2 = (columns[0], columns[-1]) if found else (axis[0], axis[-1])
            y1, y2 = (rows[0], rows[-1]) if found else (axis[0], axis[-1])
            points.append(
                torch.stack([torch.stack(each) for each in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))])
            )
            seen.append(found)
        points_N42, seen_N4 = torch.stack(points), torch.tensor(seen)[:, None].expand(-1, 4)
        cells = (size // self.stride, size // self.stride)
        heat_N5hw = encode_heatmap(points_N42, torch.ones_like(seen_N4), cells, self.stride, 3.0)
        heat_N5hw = heat_N5hw * torch.where(seen_N4[:, :1], 1.0, 0.05)[..., None, None]
        center = encode_center(points_N42, seen_N4, cells, self.stride)
        offset_N8hw = center.offset_NK2.flatten(1)[..., None, None].expand(-1, -1, *cells)
        return DetectorOutput(heat_N5hw.unsqueeze(0), 8 * center.center_N1hw - 4, offset_N8hw)


@pytest.fixture
def finder():
    config = load_config([], ["model.num_points=4", "model.crop_px=64", "model.detector=lite"])
    return Finder(Trained(SquareDetector(), config, "square"), torch.device("cpu"))


def draw_square(middle, side=SQUARE_PX):
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    if middle is not None:
        (x1, y1), (x2, y2) = (
            (np.array(middle) - side / 2).astype(int),
            (np.array(middle) + side / 2).astype(int),
        )
        image[y1:y2, x1:x2] = 255
    return image


def film(middles, path="film"):
    return [
        Picture(path, number, 40.0 * number, draw_square(middle)) for number, middle in enumerate(middles)
    ]


def walk(frames=12, start=(50, 60), step=(2, 1)):
    return [(start[0] + step[0] * t, start[1] + step[1] * t) for t in range(frames)]


def middle_of(points_K2):
    return (points_K2.min(0) + points_K2.max(0)) / 2


def test_the_box_follows_what_moves(finder):
    middles = walk()
    found = [one for _, one in follow(finder, iter(film(middles)))]
    for middle, one in zip(middles, found, strict=True):
        np.testing.assert_allclose(middle_of(one.points_K2), np.array(middle) - 0.5, atol=1.5)
        box_middle = (one.box_4[:2] + one.box_4[2:]) / 2
        assert np.abs(box_middle - middle).max() < 12, "the box is where the face was a frame ago"
        assert SQUARE_PX * 0.7 < one.box_4[2] - one.box_4[0] < SQUARE_PX * 1.6


def test_the_first_box_is_taken_as_given(finder):
    box_4 = np.array([20.0, 30.0, 80.0, 90.0])
    found = [one for _, one in follow(finder, iter(film(walk(2))), first_box=box_4)]
    assert np.array_equal(found[0].box_4, box_4)
    assert not np.array_equal(found[1].box_4, box_4)


def test_a_frames_own_box_wins(finder):
    own = np.array([30.0, 30.0, 90.0, 90.0])
    found = [one for _, one in follow(finder, iter(film(walk(4))), boxes={("film", 2): own})]
    assert np.array_equal(found[2].box_4, own)


def test_a_lost_face_is_searched_for_anew(finder):
    """It vanishes and comes back at the other end of the picture, far outside of the last box."""
    middles = [*walk(3), None, (130, 25), (131, 26)]
    found = [one for _, one in follow(finder, iter(film(middles)))]
    assert found[3].score_K.mean() < 0.1
    np.testing.assert_allclose(middle_of(found[4].points_K2), (129.5, 24.5), atol=1.5)
    np.testing.assert_allclose(middle_of(found[5].points_K2), (130.5, 25.5), atol=1.5)


def test_a_first_box_is_of_the_first_frame_only(finder):
    """A face that was lost is searched for, not looked for where it was in the beginning."""
    first = np.array([38.0, 48.0, 62.0, 72.0])
    found = [one for _, one in follow(finder, iter(film([(50, 60), None, (130, 25)])), first_box=first)]
    np.testing.assert_allclose(middle_of(found[2].points_K2), (129.5, 24.5), atol=1.5)


def test_another_video_is_another_face(finder):
    pictures = [*film([(40, 40)], "one"), *film([(120, 120)], "two")]
    found = [one for _, one in follow(finder, iter(pictures))]
    np.testing.assert_allclose(middle_of(found[1].points_K2), (119.5, 119.5), atol=1.5)


def write_film(path, middles):
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (SIDE_PX, SIDE_PX))
    for middle in middles:
        writer.write(draw_square(middle))
    writer.release()
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_an_overlay_has_every_frame_with_its_points(finder, tmp_path, suffix):
    path = write_film(tmp_path / "in.avi", walk(7))
    out = tmp_path / "new" / f"out{suffix}"
    assert count_pictures(path) == 7
    with open_overlay(str(out), path) as overlay:
        for picture, one in follow(finder, read_pictures(path)):
            overlay.add(picture.image_HWC, one.points_K2, one.score_K, picture.path)
    drawn = [picture.image_HWC for picture in read_pictures(out)]
    assert len(drawn) == 7
    x, y = np.array(walk(7)[3]) - SQUARE_PX // 2
    spot = drawn[3][y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
    assert (spot[:, 1] - spot[:, 2] > 40).any(), "a sure point is green"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_reads_back(finder, tmp_path, suffix):
    found = [one for _, one in follow(finder, iter(film(walk(5))))]
    path = tmp_path / f"points{suffix}"
    write_table(path, found)
    if suffix == ".csv":
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [int(row["frame"]) for row in rows] == list(range(5))
    assert [float(row["pts_ms"]) for row in rows] == [one.pts_ms for one in found]
    for row, one in zip(rows, found, strict=True):
        points_K2 = [[float(row[f"{axis}{point}"]) for axis in "xy"] for point in range(4)]
        np.testing.assert_allclose(points_K2, one.points_K2, rtol=1e-6)
        np.testing.assert_allclose(
            [float(row[f"box_{side}"]) for side in ("x1", "y1", "x2", "y2")], one.box_4
        )


def test_a_folder_of_images_is_read_by_name_and_drawn_by_name(finder, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, middle in (("b.png", (120, 120)), ("a.png", (40, 40))):
        cv2.imwrite(str(folder / name), draw_square(middle))
    (folder / "notes.txt").write_text("no image")
    with open_overlay(str(tmp_path / "drawn"), folder) as overlay:
        found = []
        for picture, one in follow(finder, read_pictures(folder)):
            overlay.add(picture.image_HWC, one.points_K2, one.score_K, picture.path.rpartition("/")[2])
            found.append(middle_of(one.points_K2))
    np.testing.assert_allclose(found, [(39.5, 39.5), (119.5, 119.5)], atol=1.5)
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png"]


def test_what_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"no video at all")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half.png").write_bytes(b"\x89PNG")
    for name, reason in (
        ("broken.avi", "no frame"),
        ("empty", "no images"),
        ("half.png", "cannot be decoded"),
    ):
        with pytest.raises(DataError, match=rf"{name}.*{reason}"):
            list(read_pictures(tmp_path / name))


def test_a_video_overlay_of_images_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a video, for images"), open_overlay("out.mp4", tmp_path):
        pass


def test_a_search_begins_all_over_the_picture():
    boxes = np.stack(list(spread_boxes(np.zeros((100, 200, 3), np.uint8))))
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 200
    assert boxes[:, 3].max() <= 100
    assert boxes[:, 0].min() < 10
    assert boxes[:, 2].max() > 190
