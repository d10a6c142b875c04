"""A picture from its file, in eight bits: what labels are about, and what a detector is given."""

import cv2
import numpy as np
from numpy.typing import NDArray

TWELVE_BITS = 4096
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
"""How pictures in shards are decoded, wherever it is done: what is written of them is of their pixels as they are stored."""


def load_image(path: str) -> NDArray[np.uint8] | None:
    """BGR, turned as its EXIF asks; None when it is not an image.

    Of sixteen bits the upper eight are kept; of a camera that fills only the lower twelve of them, the upper eight of
    these: its pictures would be nearly black.
    """
    try:
        data = np.fromfile(path, np.uint8)
        deep = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if len(data) else None
        if deep is None:
            return None
        if deep.dtype == np.uint16:
            return np.right_shift(deep, 4 if deep.max() < TWELVE_BITS else 8).astype(np.uint8)
        plain = deep if deep.dtype == np.uint8 else cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(plain, np.uint8)
    except (OSError, cv2.error):
        return None
