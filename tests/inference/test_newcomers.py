"""Who is told apart from those that are followed already: by how sure a detector is, and where it sees somebody."""

import numpy as np
import pytest

from tsal_dist.inference.crowd import Seeker, follow_all
from tsal_dist.inference.looking import Look
from tsal_dist.inference.pictures import Picture
from tsal_dist.records import UNNAMED


class Mirror:
    """Sees four points in the corners of whatever box it looks into."""

    num_points, layout = 4, UNNAMED

    def closely(self, image_HWC, box_4):
        return self.look(image_HWC, [box_4])

    def look(self, image_HWC, boxes):
        x1, y1, x2, y2 = np.stack(boxes).T
        points_CK2 = np.stack([np.stack(each, 1) for each in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], 1)
        ones_C = np.ones(len(boxes))
        return Look(points_CK2, np.full((len(boxes), 4), 0.9), ones_C, ones_C)


class Says:
    """Log-odds in the order in which they are asked for."""

    def __init__(self, *log_odds):
        self.left = list(log_odds)
        self.presence = self

    def log_odds(self, evidence_E):
        return self.left.pop(0)

    def expected_px(self, look):
        return np.ones(look.score_CK.shape)


def boxed(x, side=40.0):
    return np.array([x - side / 2, 60 - side / 2, x + side / 2, 60 + side / 2])


def numbers_of(says, found_by_frame):
    """The numbers of each frame's subjects; what the seeker finds in each is given."""
    frames = iter(found_by_frame)
    seeker = Seeker(lambda image: next(frames), 1, detects=False)
    pictures = [
        Picture("film", t, 40.0 * t, np.zeros((120, 400, 3), np.uint8)) for t in range(len(found_by_frame))
    ]
    return [
        [row.subject for row in rows if row.found]
        for _, rows in follow_all(Mirror(), iter(pictures), seeker, says)
    ]


def test_a_newcomer_counts_when_it_is_sure_enough():
    """Log-odds of .7 are a probability of two thirds: likelier than not, and too little for somebody new."""
    assert numbers_of(Says(0.7, 0.9), [[boxed(60)], []]) == [[], [1]]
    assert numbers_of(Says(3.0), [[boxed(60)]]) == [[1]]
    assert numbers_of(Says(0.7, -3.0, 3.0), [[boxed(60)], [], [boxed(200)]]) == [[], [], [1]], (
        "no number is spent"
    )


def test_who_was_lost_is_found_again_by_what_is_sure():
    """A weak find near to where he was is not him: it comes to nothing, and he keeps his number."""
    says = Says(3.0, -4.0, 0.7, -4.0, 3.0)
    frames = [[boxed(60)], [], [], [boxed(80)], [], [boxed(64)]]
    assert numbers_of(says, frames) == [[1], [], [], [], [], [1]]


@pytest.mark.parametrize(("x", "numbers"), [(80, [[1], [1]]), (105, [[1], [1, 2]])])
def test_nobody_new_comes_where_somebody_is(x, numbers):
    """At 80 a third of both boxes is the same."""
    assert numbers_of(Says(4.0, 4.0, 4.0), [[boxed(60)], [boxed(x)]]) == numbers


def test_a_threshold_is_asked_of_newcomers_and_of_all():
    found = follow_all(
        Mirror(),
        iter([Picture("film", t, 0.0, np.zeros((120, 400, 3), np.uint8)) for t in range(3)]),
        Seeker(lambda image: [boxed(60)], 1, detects=False),
        Says(2.0, 1.5, 1.5),
        threshold=0.95,
    )
    assert [[row.found for row in rows] for _, rows in found] == [[False], [True], [True]]
