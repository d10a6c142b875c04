"""A search finds what fills a picture, whatever the picture's shape: there the box of a label is mostly the picture itself."""

import numpy as np
import pytest

from tsal_dist.inference.looking import Look, search
from tsal_dist.records import UNNAMED

GROWN = 0.1


class NeedsAllOfIt:
    """Sees a subject only where all of its points are in the box, as a net that has learnt from whole pictures."""

    num_points, layout = 4, UNNAMED

    def __init__(self, width, height):
        low, high = np.array([0.06 * width, 0.06 * height]), np.array([0.94 * width, 0.94 * height])
        self.points_K2 = np.array([low, (high[0], low[1]), high, (low[0], high[1])])

    def look(self, image_HWC, boxes):
        points, sure = [], []
        for box_4 in boxes:
            middle_2, half = (box_4[:2] + box_4[2:]) / 2, (0.5 + GROWN) * (box_4[2:] - box_4[:2]).max()
            seen = bool((np.abs(self.points_K2 - middle_2) <= half).all())
            corners_K2 = np.array([box_4[[0, 1]], box_4[[2, 1]], box_4[[2, 3]], box_4[[0, 3]]])
            points.append(self.points_K2 if seen else corners_K2)
            sure.append(0.9 if seen else 0.3)
        score_C = np.array(sure)
        return Look(np.stack(points), score_C[:, None].repeat(4, 1), score_C, np.ones(len(boxes)))


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (240, 236)])
def test_a_subject_that_fills_the_picture_is_found(size):
    eyes = NeedsAllOfIt(*size)
    found_4 = search(eyes, np.zeros((size[1], size[0], 3), np.uint8))
    np.testing.assert_allclose(found_4, [*eyes.points_K2[0], *eyes.points_K2[2]])
