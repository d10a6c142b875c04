"""Where a subject is looked for next: on its way, and not further."""

import numpy as np
import pytest

from tsal_dist.inference.ahead import Ahead
from tsal_dist.pack.box_tracker import middle_of

SIDE_PX = 20.0


def square(middle_2, side=SIDE_PX):
    return np.concatenate([np.asarray(middle_2) - side / 2, np.asarray(middle_2) + side / 2])


def lead(middles):
    """Where the box of each next frame has its middle, if every subject is found where it is."""
    ahead, box_4, middles_of_boxes = Ahead(), square(middles[0]), []
    for middle_2 in middles:
        box_4 = ahead.box(square(middle_2), box_4)
        middles_of_boxes.append(middle_of(box_4))
    return np.array(middles_of_boxes)


@pytest.mark.parametrize("pace", [(0.0, 0.0), (7.0, -3.0), (-15.0, 4.0)])
def test_one_that_keeps_its_pace_is_met(pace):
    way_T2 = np.array([50.0, 50.0]) + np.outer(np.arange(12), pace)
    np.testing.assert_allclose(lead(way_T2)[7:-1], way_T2[8:], atol=SIDE_PX / 10)


def test_one_that_stops_or_turns_is_met_soon():
    way_T2 = np.array([[50.0 + 10 * min(t, 8), 50.0] for t in range(20)])
    late_T = np.abs(lead(way_T2)[:-1, 0] - way_T2[1:, 0])
    assert late_T.max() < 10.1, "no further off than its step"
    assert late_T[-2:].max() < 0.5, "it is where the subject stands"


def test_trembling_is_not_taken_for_a_way(rng):
    way_T2 = np.array([50.0, 50.0]) + rng.normal(0, 1, (400, 2))
    assert lead(way_T2)[20:].std(0).max() < 0.75, "less than the landmarks' own box, as without a pace"
    assert np.abs(lead(way_T2)[20:].mean(0) - 50).max() < 0.2


def test_its_size_follows_as_well():
    ahead, box_4 = Ahead(), square((50, 50), 10)
    for _ in range(10):
        box_4 = ahead.box(square((50, 50), 30), box_4)
    np.testing.assert_allclose(box_4, square((50, 50), 30), atol=0.1)
