"""A picture is the same to whoever packs it and whoever predicts on it, however many bits its camera has."""

import cv2
import numpy as np
import pytest

from tsal_dist.inference.pictures import Source, read_pictures
from tsal_dist.pack.picture_file import load_image

LEVELS_HW = np.arange(256, dtype=np.uint16).reshape(16, 16)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return str(path)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_eight_bits_are_what_is_left(tmp_path, bits, suffix):
    """A camera of twelve bits fills the lower twelve of sixteen: by the upper eight its pictures were nearly black."""
    image = (LEVELS_HW << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)
    path = write(tmp_path / f"grün{suffix}", image)
    expected_HWC = np.repeat(LEVELS_HW[..., None].astype(np.uint8), 3, 2)
    np.testing.assert_array_equal(load_image(path), expected_HWC)
    (picture,) = read_pictures(Source("image", path))
    np.testing.assert_array_equal(picture.image_HWC, expected_HWC)


def test_colours_and_their_transparency(tmp_path):
    """Of sixteen bits each; what shines through is left out."""
    image = np.zeros((4, 4, 4), np.uint16)
    image[..., 2], image[..., 3] = 0xFF00, 0x8000
    assert load_image(write(tmp_path / "red.png", image))[0, 0].tolist() == [0, 0, 255]


def test_numbers_with_fractions_are_taken_as_before(tmp_path):
    path = write(tmp_path / "depth.tiff", np.full((4, 4), 7.6, np.float32))
    np.testing.assert_array_equal(load_image(path), cv2.imread(path))


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture_is_none(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert load_image(str(tmp_path / "a.png")) is None
    assert load_image(str(tmp_path / "missing.png")) is None
