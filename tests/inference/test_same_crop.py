"""A net that predicts sees what it learnt with: the same crop, beyond the picture's edge too."""

import cv2
import numpy as np
import torch

from tests.inference.squares import FlagDetector, finder_of
from tsal_dist.config import load_config
from tsal_dist.data.decode import decode_crop
from tsal_dist.geometry import affine
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.whole import WholeDetector
from tsal_dist.models.input import normalize

CONFIG = load_config([], ["model.num_points=4", "model.crop_px=64", "model.detector=lite"])
BOX_4 = np.array([-30.0, 20.0, 50.0, 100.0])
"""It reaches beyond two edges of the picture, as that of a whole picture does which is no square."""


class Witness(FlagDetector):
    """Remembers what it was shown."""

    def forward(self, image_N3HW):
        self.shown_N3HW = image_N3HW
        return super().forward(image_N3HW)


def picture():
    rough = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return cv2.resize(rough, (120, 90), interpolation=cv2.INTER_LINEAR)


def learnt_N3HW(expand=0.0):
    """What a student is shown of this box."""
    png = cv2.imencode(".png", picture())[1].tobytes()
    crop_HWC = decode_crop(png, affine.crop(BOX_4, 64, expand=expand), 64)
    return normalize(torch.from_numpy(crop_HWC[None]))


def test_the_finder_shows_what_was_learnt_with():
    witness = Witness()
    finder = finder_of(witness)
    finder.look(picture(), [BOX_4])
    torch.testing.assert_close(witness.shown_N3HW, learnt_N3HW(Trained(witness, CONFIG, "made").expand))


def test_the_whole_file_shows_what_was_learnt_with():
    trained = Trained(Witness(), CONFIG, "made")
    whole = WholeDetector(trained, None)
    whole(torch.from_numpy(picture()[..., ::-1].copy()), torch.from_numpy(BOX_4[None]).float())
    # OpenCV places what it samples on 32nds of a pixel, and rounds to bytes.
    torch.testing.assert_close(
        trained.model.shown_N3HW, learnt_N3HW(trained.expand), atol=6 / 255 / 0.225, rtol=0
    )
