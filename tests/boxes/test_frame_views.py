"""Views of whole frames: boxes move as the picture does."""

import cv2
import numpy as np
import pytest

from tests.boxes.shown import HEIGHT, WIDTH, shown
from tsal_dist.boxes.labelled import Shown
from tsal_dist.boxes.views import draw, move_boxes, move_picture
from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.geometry import affine

WHOLE = (-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5)


def around_white(image_HWC):
    """The box around what is bright."""
    y, x = np.nonzero(image_HWC.min(2) > 127)
    return np.array([x.min(), y.min(), x.max(), y.max()], np.float64)


@pytest.mark.parametrize(
    "how",
    [
        {"zoom": 1.0},
        {"zoom": 0.6, "shift_px": (9.0, -5.0)},
        {"zoom": 1.4, "shift_px": (-6.0, 3.0)},
        {"zoom": 0.8, "flip": True},
    ],
    ids=str,
)
def test_a_box_is_where_the_picture_of_it_is(how):
    image_HWC = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image_HWC[30:62, 40:88] = 255
    matrix_23 = affine.crop(WHOLE, 96, expand=0.0, **how)
    square_SS3 = move_picture(image_HWC, matrix_23, 96)
    (moved_4,) = move_boxes(np.array([[40.0, 30, 87, 61]]), matrix_23, 96)
    np.testing.assert_allclose(moved_4, around_white(square_SS3), atol=1.01)


def test_views_differ_and_are_the_same_by_the_same_numbers():
    frame = shown(3, [[20, 20, 60, 60]])
    one, same, other = (draw(frame, 96, generator_for(0, number)) for number in (1, 1, 2))
    assert (one[0] == same[0]).all()
    assert (one[1] == same[1]).all()
    assert (one[0] != other[0]).any()


def test_boxes_of_random_views_lie_on_what_they_are_of():
    """The white subject's middle is white in every view, but where a patch covers it."""
    image_HWC = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image_HWC[40:60, 50:80] = 255
    _, jpeg = cv2.imencode(".png", image_HWC)
    frame = Shown("v.avi", 0, jpeg.tobytes(), WIDTH, np.array([[50.0, 40, 79, 59]]))
    hits = there = 0
    for number in range(60):
        square_SS3, boxes_B4 = draw(frame, 96, generator_for(5, number))
        for x1, y1, x2, y2 in boxes_B4:
            there += 1
            middle_3 = square_SS3[int((y1 + y2) / 2), int((x1 + x2) / 2)]
            hits += middle_3.mean() > square_SS3.mean() + 40
    assert there > 50
    assert hits > 0.9 * there


def test_what_is_cut_off_is_a_box_at_the_edge_and_what_is_nearly_gone_is_none():
    matrix_23 = affine.crop(WHOLE, 128, expand=0.0, shift_px=(-20.0, 0.0))
    seen_4 = [30.0, 40, 60, 60]  # from 10 to 40 in the view
    cut_4 = [10.0, 40, 40, 60]  # from -10 to 20
    gone_4 = [0.0, 40, 30, 60]  # from -20 to 10
    moved_B4 = move_boxes(np.array([seen_4, cut_4, gone_4]), matrix_23, 128)
    np.testing.assert_allclose(moved_B4[:, [0, 2]], [[10, 40], [-0.5, 20]], atol=1e-6)
