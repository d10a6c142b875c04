"""L11: what a reduced decode and one warp give is what a full decode gives, points included."""

import cv2
import numpy as np
import pytest

from tsal_dist.data.augment import View
from tsal_dist.data.decode import FILL, decode_crop, decode_image, reduction
from tsal_dist.errors import DataError
from tsal_dist.geometry import affine

CROP_PX = 128


def dots(height, width, points_K2):
    """A smooth ground with one bright blob per point, as wide as a few pixels of the crop."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([60 + 40 * np.sin(x / 97), 60 + 40 * np.cos(y / 83), np.full(x.shape, 70.0)], axis=-1)
    sigma = max(height, width) / 90
    for px, py in points_K2:
        image += 130 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def centre_of_blob(crop_hwc, guess_2, radius_px):
    """Centre of mass of what is bright within a disc around the guess."""
    y, x = np.mgrid[: crop_hwc.shape[0], : crop_hwc.shape[1]]
    near = (x - guess_2[0]) ** 2 + (y - guess_2[1]) ** 2 <= radius_px**2
    grey = crop_hwc.astype(float).mean(-1)
    weight = np.where(near, np.clip(grey - np.median(grey[near]), 0, None), 0)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("size_hw", [(720, 1280), (719, 1277), (360, 640), (241, 251)])
@pytest.mark.parametrize("view", [View(), View(zoom=0.9, degrees=17, shift=(0.05, -0.03), flip=True)])
def test_reduced_decode_puts_every_point_within_a_pixel(size_hw, view):
    height, width = size_hw
    box = np.array([0.2 * width, 0.1 * height, 0.75 * width, 0.85 * height])
    points_K2 = np.stack([np.linspace(0.3, 0.65, 5) * width, np.array([0.3, 0.6, 0.4, 0.7, 0.5]) * height], 1)
    source = dots(height, width, points_K2)
    data = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

    matrix = view.to_crop(box, CROP_PX, expand=0.2)
    crop = decode_crop(data, matrix, CROP_PX)

    assert crop.shape == (CROP_PX, CROP_PX, 3)
    for point in affine.apply(matrix, points_K2):
        assert np.abs(centre_of_blob(crop, point, 6) - point).max() < 0.6
    plain = cv2.warpAffine(decode_image(data), matrix, (CROP_PX, CROP_PX), borderValue=FILL[::-1])
    assert cv2.PSNR(crop, cv2.cvtColor(plain, cv2.COLOR_BGR2RGB)) > 30


@pytest.mark.parametrize(("side_px", "factor"), [(100, 1), (128, 1), (255, 1), (256, 2), (600, 4), (5000, 8)])
def test_the_decoder_never_gives_fewer_pixels_than_the_crop_has(side_px, factor):
    matrix = affine.crop([0, 0, side_px, side_px], CROP_PX, expand=0)
    assert reduction(matrix) == factor
    assert factor == 1 or side_px / factor >= CROP_PX


def test_outside_is_the_mean_colour_and_channels_are_rgb():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 255
    crop = decode_crop(
        cv2.imencode(".png", red)[1].tobytes(), affine.crop([0, 0, 64, 64], 64, expand=0.5), 64
    )
    assert tuple(crop[2, 2]) == FILL
    assert tuple(crop[32, 32]) == (255, 0, 0)


def test_a_png_is_not_read_on_a_reduced_grid():
    """Its reduction rounds the size down and would shift the grid."""
    source = dots(301, 303, [(150, 150)])
    data = cv2.imencode(".png", source)[1].tobytes()
    matrix = affine.crop([0, 0, 302, 300], 64, expand=0)
    expected = affine.apply(matrix, [150, 150])
    assert np.abs(centre_of_blob(decode_crop(data, matrix, 64), expected, 5) - expected).max() < 0.3


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_a_damaged_jpeg_is_an_error_and_never_a_grey_picture(keep):
    whole = cv2.imencode(".jpg", dots(64, 64, [(30, 30)]))[1].tobytes()
    with pytest.raises(DataError):
        decode_crop(whole[:keep], np.eye(2, 3), 64)


def test_an_orientation_tag_does_not_turn_what_was_annotated_unturned():
    source = dots(40, 60, [(10, 8)])
    jpeg = cv2.imencode(".jpg", source)[1].tobytes()
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (60, 40, 3)
    assert decode_image(turned).shape == (40, 60, 3)
