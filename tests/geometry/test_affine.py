import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.geometry import affine


@settings(deadline=None)
@given(
    x=st.floats(-50, 400),
    y=st.floats(-50, 400),
    side=st.floats(20, 500),
    zoom=st.floats(0.5, 2),
    degrees=st.floats(-180, 180),
    shift=st.floats(-30, 30),
    flip=st.booleans(),
)
def test_there_and_back_is_where_one_was(x, y, side, zoom, degrees, shift, flip):
    there = affine.crop(
        (x, y, x + side, y + side), 128, zoom=zoom, degrees=degrees, shift_px=(shift, 0), flip=flip
    )
    points = np.array([[x, y], [x + side, y + 0.3 * side], [0.0, 0.0]])
    np.testing.assert_allclose(
        affine.apply(affine.invert(there), affine.apply(there, points)), points, atol=1e-6
    )
    assert (affine.determinant(there) < 0) is flip
    assert affine.magnification(there) == pytest.approx(zoom * 128 / (side * 1.4))


def test_box_fills_the_crop():
    there = affine.crop((100, 50, 200, 150), 256, expand=0.0)
    np.testing.assert_allclose(affine.apply(there, [150, 100]), [127.5, 127.5])
    # The edges of the box are as far from the crop's middle as the outer edges of its outermost pixels.
    np.testing.assert_allclose(affine.apply(there, [[100, 50], [200, 150]]), [[-0.5, -0.5], [255.5, 255.5]])


def test_longer_side_rules_and_aspect_is_kept():
    there = affine.crop((0, 0, 100, 50), 100, expand=0.0)
    np.testing.assert_allclose(there[:, :2], np.eye(2))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 20.0, -73.0])
def test_image_and_points_go_through_the_same_matrix(flip, degrees):
    image = np.zeros((200, 200), np.float32)
    spot = np.array([120.0, 70.0])
    yy, xx = np.mgrid[:200, :200]
    image += np.exp(-((xx - spot[0]) ** 2 + (yy - spot[1]) ** 2) / (2 * 4.0**2)).astype(np.float32)
    there = affine.crop((50, 30, 170, 150), 128, degrees=degrees, flip=flip)
    crop = cv2.warpAffine(image, there, (128, 128), flags=cv2.INTER_LINEAR)
    cy, cx = np.mgrid[:128, :128]
    seen = np.array([(crop * cx).sum(), (crop * cy).sum()]) / crop.sum()
    np.testing.assert_allclose(seen, affine.apply(there, spot), atol=0.05)


def test_reduced_image_has_its_pixels_at_the_middle_of_their_blocks():
    np.testing.assert_allclose(
        affine.apply(affine.reduce(4), [[1.5, 1.5], [5.5, 1.5]]), [[0, 0], [1, 0]], atol=1e-12
    )


def test_chain_reads_left_to_right():
    moved = affine.chain(affine.translate(1, 0), affine.scale(2))
    np.testing.assert_allclose(affine.apply(moved, [0, 0]), [2, 0])


def test_positive_turn_is_clockwise_to_the_eye():
    np.testing.assert_allclose(affine.apply(affine.rotate(90), [1, 0]), [0, 1], atol=1e-12)


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (10, 10, 5, 20), (0, 0, float("nan"), 3)])
def test_box_without_area_is_refused(box):
    with pytest.raises(DataError, match="no area"):
        affine.crop(box, 64)


def test_singular_matrix_is_refused():
    with pytest.raises(DataError, match="determinant 0"):
        affine.invert(affine.scale(0.0))
