"""Frames of pieces are decoded one ahead of their use."""

import time

import cv2
import numpy as np

from tests.pack.footage import make_video
from tsal_dist.pack.decode import Decoder
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import Piece


def test_the_frame_in_use_stays_while_the_next_one_is_decoded(tmp_path):
    first, second = (
        Input(str(make_video(tmp_path / name, frames=6, seed=seed)), "video", name)
        for seed, name in enumerate(("0.avi", "1.avi"))
    )
    pieces = [Piece(first, [0, 1, 2, 3, 4, 5], to_end=True), Piece(second, [3, 4, 5], to_end=True)]
    found = []
    for piece, decoded in Decoder().frames_ahead(pieces, 1):
        time.sleep(0.01)
        found.append((piece.source.name, decoded.frame, decoded.image_HWC.copy()))
    assert [each[:2] for each in found] == [("0.avi", n) for n in range(6)] + [
        ("1.avi", n) for n in (3, 4, 5)
    ]
    for name, frame, image_HWC in found:
        assert np.array_equal(image_HWC, plainly_decoded(tmp_path / name, frame)), (name, frame)


def plainly_decoded(path, frame):
    video = cv2.VideoCapture(str(path))
    for _ in range(frame + 1):
        _, image_HWC = video.read()
    return image_HWC
