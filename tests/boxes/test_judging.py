"""Recall, precision and the threshold, by hand."""

import numpy as np
import pytest

from tests.boxes.shown import shown
from tsal_dist.boxes.judging import LEAST_SCORE, USUAL_THRESHOLD, Verdict, both, judge


def verdict(scores, right, subjects):
    return Verdict(np.array(scores), np.array(right, np.bool_), 4, subjects)


def test_rates_by_hand():
    found = verdict([0.9, 0.8, 0.6, 0.2], [1, 0, 1, 1], 4)
    assert found.recall(0.5) == pytest.approx(2 / 4)
    assert found.precision(0.5) == pytest.approx(2 / 3)
    assert found.recall(0.95) == 0
    assert found.precision(0.95) is None
    assert verdict([0.9], [0], 0).recall(0.5) is None


@pytest.mark.parametrize(
    ("scores", "right", "subjects", "threshold"),
    [
        ([0.9, 0.8, 0.3], [1, 1, 0], 2, 0.55),  # between the last right one and the first wrong one
        ([0.9, 0.7], [1, 1], 2, (0.7 + LEAST_SCORE) / 2),  # nothing wrong: halfway to nothing
        ([0.9, 0.6, 0.5, 0.4], [1, 0, 1, 0], 2, 0.45),  # one wrong box for one more subject is worth it
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 2, 0.3),  # boxes of one score stay or go together
        ([0.9], [0], 3, USUAL_THRESHOLD),
        ([], [], 3, USUAL_THRESHOLD),
    ],
)
def test_the_threshold_lies_where_most_is_found_for_the_fewest_errors(scores, right, subjects, threshold):
    assert verdict(scores, right, subjects).best_threshold() == pytest.approx(threshold)


class Told:
    """Says boxes that are given, whatever it sees."""

    def __init__(self, boxes):
        self._boxes = boxes

    def find(self, square_SS3):
        assert square_SS3.shape == (128, 128, 3)
        return np.array(self._boxes, np.float32).reshape(-1, 5)


def test_a_subject_is_found_once_and_only_by_a_box_that_fits():
    """The picture of 128 x 96 stands 16 px down in the square of 128."""
    frame = shown(0, [[20, 20, 50, 50], [80, 40, 110, 70]])
    told = [
        [20, 36, 50, 66, 0.9],  # the first subject
        [20, 50, 50, 80, 0.8],  # half of it again, as alike as to be neither the same box nor a fit
        [78, 57, 112, 87, 0.7],  # the second, nearly
        [0, 100, 10, 110, 0.6],
        [60, 100, 70, 110, 0.01],
    ]
    found = judge(Told(told), 128, [frame, shown(1, [])])
    assert found.score_M.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6] + [0.9, 0.8, 0.7, 0.6])
    assert found.right_M.tolist() == [True, False, True, False] + [False] * 4
    assert (found.frames, found.subjects) == (2, 2)


def test_verdicts_are_put_together():
    one, other = verdict([0.9], [1], 1), verdict([0.4], [0], 2)
    assert both([one, other]).recall(0.5) == pytest.approx(1 / 3)
    assert both([]).recall(0.5) is None
    assert both([]).best_threshold() == USUAL_THRESHOLD
