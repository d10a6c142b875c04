"""Frames of pieces are decoded one ahead of their use."""

import threading

import cv2
import numpy as np

from tests.pack.footage import make_video
from tsal_dist.pack.decode import Decoder
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import Piece


class Telling(Decoder):
    """Counts the frames that it has decoded."""

    def __init__(self):
        super().__init__()
        self.decoded = threading.Semaphore(0)

    def _retrieve(self, video, frame):
        try:
            return super()._retrieve(video, frame)
        finally:
            self.decoded.release()


def test_the_frame_in_use_stays_while_the_next_one_is_decoded(tmp_path):
    first, second = (
        Input(str(make_video(tmp_path / name, frames=6, seed=seed)), "video", name)
        for seed, name in enumerate(("0.avi", "1.avi"))
    )
    pieces = [Piece(first, [0, 1, 2, 3, 4, 5], to_end=True), Piece(second, [3, 4, 5], to_end=True)]
    expected = [("0.avi", n) for n in range(6)] + [("1.avi", n) for n in (3, 4, 5)]
    decoder, found = Telling(), []
    for piece, decoded in decoder.frames_ahead(pieces, 1):
        assert decoder.decoded.acquire(timeout=10)
        if len(found) + 1 < len(expected):
            assert decoder.decoded.acquire(timeout=10), "the next one is decoded while this one is used"
            decoder.decoded.release()
        found.append((piece.source.name, decoded.frame, decoded.image_HWC.copy()))
    assert [each[:2] for each in found] == expected
    for name, frame, image_HWC in found:
        assert np.array_equal(image_HWC, plainly_decoded(tmp_path / name, frame)), (name, frame)


def plainly_decoded(path, frame):
    video = cv2.VideoCapture(str(path))
    for _ in range(frame + 1):
        _, image_HWC = video.read()
    return image_HWC
