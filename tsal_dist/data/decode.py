"""A compressed frame to the square crop that the detector sees, with one resampling.

Most of a large JPEG is thrown away by the crop, so the decoder is asked for the smallest size (1, 1/2, 1/4, 1/8)
that still has a pixel for each pixel of the crop; then one `warpAffine` does crop, scale, rotation and mirror.
Area resampling would cost as much as the decoding itself.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.geometry import affine

# What lies outside the source: ImageNet's mean colour (RGB), which normalises to nothing.
FILL = (124, 116, 104)

# Orientation tags are ignored: landmarks and boxes are written for the pixels as they are stored.
_FLAGS = {
    1: cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def reduction(to_crop_23: affine.Matrix) -> int:
    """By how much the decoder may shrink the source so that a crop pixel still has its own decoded pixel."""
    shrink = 1.0 / affine.magnification(to_crop_23)
    return next((factor for factor in (8, 4, 2) if shrink >= factor), 1)


def decode_crop(data: bytes | memoryview, to_crop_23: affine.Matrix, crop_px: int) -> NDArray[np.uint8]:
    """RGB crop_HWC of an encoded image under a source-to-crop matrix."""
    return warp_crop(*_decode_small(data, to_crop_23), crop_px)


def warp_crop(source_hwc: NDArray[np.uint8], to_crop_23: affine.Matrix, crop_px: int) -> NDArray[np.uint8]:
    """RGB crop_HWC of a decoded BGR image: the same for whoever learns from it and whoever predicts."""
    crop_hwc = cv2.warpAffine(
        source_hwc,
        to_crop_23,
        (crop_px, crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=FILL[::-1],
    )
    return np.asarray(cv2.cvtColor(crop_hwc, cv2.COLOR_BGR2RGB), np.uint8)


def decode_window(
    data: bytes | memoryview, to_crop_23: affine.Matrix, crop_px: int
) -> tuple[NDArray[np.uint8], affine.Matrix]:
    """The part of an encoded image that its crop is made of, RGB and not resampled, and the matrix from its pixels to
    the crop. At least two pixels a side, also for a crop that lies beside the picture: a sampler needs two."""
    source_hwc, from_decoded_23 = _decode_small(data, to_crop_23)
    height, width = source_hwc.shape[:2]
    edge = crop_px - 1
    corners_42 = affine.apply(affine.invert(from_decoded_23), [(0, 0), (edge, 0), (0, edge), (edge, edge)])
    # One pixel more on each side: what lies between two pixels is made of both.
    last = (max(0, width - 2), max(0, height - 2))
    left, top = np.clip(np.floor(corners_42.min(0)) - 1, 0, last).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners_42.max(0)) + 2, (left + 2, top + 2), (width, height)).astype(int)
    window_hwc = cv2.cvtColor(source_hwc[top:bottom, left:right], cv2.COLOR_BGR2RGB)
    return np.asarray(window_hwc, np.uint8), affine.chain(affine.translate(left, top), from_decoded_23)


def _decode_small(
    data: bytes | memoryview, to_crop_23: affine.Matrix
) -> tuple[NDArray[np.uint8], affine.Matrix]:
    """The image as small as the crop allows, and the matrix from its pixels to the crop.

    Only a JPEG is cheaper to decode small, and only its reduced grid is exactly aligned with the full one.
    """
    factor = reduction(to_crop_23) if bytes(data[:2]) == _JPEG_START else 1
    return decode_image(data, factor), affine.chain(affine.invert(affine.reduce(factor)), to_crop_23)


def decode_image(data: bytes | memoryview, factor: int = 1) -> NDArray[np.uint8]:
    """BGR image_HWC, 1/factor of its size. Refuses what a lenient decoder would fill up with grey."""
    if bytes(data[:2]) == _JPEG_START and _JPEG_END not in bytes(data[-64:]):
        raise DataError(f"A JPEG of {len(data)} bytes is cut off. Pack its video again.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS[factor])
    except cv2.error as error:
        raise DataError(f"An image of {len(data)} bytes cannot be decoded: {error.err}.") from error
    if image is None:
        raise DataError(f"An image of {len(data)} bytes cannot be decoded. Is it a JPEG or PNG?")
    return np.asarray(image, np.uint8)
