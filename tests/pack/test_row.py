import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsal_dist.pack.boxes import full_box
from tsal_dist.pack.decode import Decoded
from tsal_dist.pack.face import build_face
from tsal_dist.pack.inputs import Input, Label
from tsal_dist.pack.packing_plan import PackOptions, Piece
from tsal_dist.pack.row import build_row, encode_label, shrink

ONES = np.ones(3, np.uint8)


def row_of(points_K2, image, box=(1, 2, 30, 40), visible_K=ONES, detect=None, options=None):
    face = build_face(np.array(points_K2, np.float32), visible_K, box)
    piece = Piece(Input("/v.avi", "video", "v.avi", labels={4: Label(face)}), [4], False)
    return build_row(piece, Decoded(4, image, 160.0), 0, PackOptions("train", **(options or {})), detect)


@settings(deadline=None)
@given(
    st.integers(40, 300),
    st.integers(40, 300),
    st.integers(16, 400),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3),
)
def test_points_map_back_to_the_source(width, height, size_px, shares):
    points_K2 = np.array(shares) * [width - 1, height - 1]
    row, _ = row_of(points_K2, np.zeros((height, width, 3), np.uint8), options={"size_px": size_px})
    scale_2 = np.array(row.source_size_px) / np.array(row.size_px)
    assert np.abs((row.points_K2 + 0.5) * scale_2 - 0.5 - points_K2).max() < 0.01
    assert max(row.size_px) == min(size_px, max(width, height))


def test_points_follow_the_picture():
    """A bright dot lies within half a source pixel of its landmark after shrinking."""
    image = np.zeros((200, 300, 3), np.uint8)
    dots = np.array([[61, 42], [212, 155], [150, 100]], float)
    for x, y in dots.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    row, jpg = row_of(dots, image, options={"size_px": 120, "quality": 100})
    small = cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
    yy, xx = np.mgrid[: small.shape[0], : small.shape[1]]
    for x, y in row.points_K2:
        weight = small * (np.hypot(xx - x, yy - y) < 6)
        found = np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()
        assert np.abs(found - (x, y)).max() * 300 / 120 < 0.5


def test_pictures_never_grow():
    image = np.zeros((48, 64, 3), np.uint8)
    assert shrink(image, 640) is image
    assert shrink(image, 0) is image
    assert shrink(np.zeros((4, 4000, 3), np.uint8), 64).shape == (1, 64, 3)


def test_landmarks_outside_lose_their_place():
    image = np.zeros((48, 64, 3), np.uint8)
    row, _ = row_of([[-3, 5], [10, 10], [63.5, 47.5]], image)
    assert row.visible_K.tolist() == [0, 1, 1]
    assert row.points_K2[0].tolist() == [0, 0]
    row, jpg = row_of([[-3, 5], [100, 10], [5, 400]], image)
    assert (row.status, jpg) == ("annotation", None)


def test_the_label_says_what_the_row_says():
    row, _ = row_of([[1.25, 2], [3, 4], [5, 6]], np.zeros((48, 64, 3), np.uint8), visible_K=ONES * 2)
    page = json.loads(encode_label(row))
    assert page["points"][0] == [1.25, 2]
    assert page["visible"] == [2, 2, 2]
    assert (page["box"], page["size"], page["frame"], page["video"]) == ([1, 2, 30, 40], [64, 48], 4, "v.avi")


def boxes_of(*rows):
    return lambda image: np.array(rows, np.float32).reshape(-1, 5)


@pytest.mark.parametrize(
    ("box", "detect", "wanted"),
    [
        ("annotation", None, (1, 2, 30, 40)),
        ("full", None, full_box(np.zeros((48, 64, 3)))),
        ("detector", boxes_of((0, 0, 9, 9, 0.9), (2, 2, 20, 20, 0.7)), (2, 2, 20, 20)),
        ("detector", boxes_of(), (1, 2, 30, 40)),
    ],
)
def test_where_the_box_comes_from(box, detect, wanted):
    image = np.zeros((48, 64, 3), np.uint8)
    row, _ = row_of([[3, 3], [18, 3], [10, 18]], image, (1, 2, 30, 40), detect=detect, options={"box": box})
    assert row.box == wanted


def test_a_landmark_far_outside_of_the_picture_is_a_mistake_that_is_named():
    """One that the edge cuts off loses its place; labels of another size of the video are no labels of this one."""
    image = np.zeros((48, 64, 3), np.uint8)
    row, jpg = row_of([[10, 10], [20, 20], [66, 20]], image)
    assert row.status == "ok"
    assert row.visible_K.tolist() == [1, 1, 0]
    row, jpg = row_of([[10, 10], [400, 20], [30, 20]], image)
    assert (row.status, jpg) == ("annotation", None)
    assert "landmark 1 is at 400 20, far outside of the picture of 64 x 48" in row.reason
    hidden = np.array([1, 0, 1], np.uint8)
    assert row_of([[10, 10], [400, 20], [30, 20]], image, visible_K=hidden)[0].status == "ok"


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0000001, 20.0), (5.0, 5.0, 30.0, 5.5)])
def test_a_box_without_area_in_the_stored_picture_is_refused(box):
    """lint would refuse it: what is packed passes."""
    image = np.zeros((480, 640, 3), np.uint8)
    row, _ = row_of([[10, 10], [20, 20], [30, 20]], image, box=box)
    assert row.status == "no_box"
    assert "px where it is stored" in row.reason
