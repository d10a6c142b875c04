"""What labels leave to be learnt, from two errors."""

import math

import pytest

from tsal_dist.metrics.headroom import headroom


@pytest.mark.parametrize(
    ("learnt", "held_out", "left"),
    [
        (0.01, 0.1, 1.0),  # it knows its labels and little else
        (0.05, 0.1, 1.0),
        (0.075, 0.1, 0.5),
        (0.09, 0.1, 0.2),  # it lacks steps or size
        (0.1, 0.1, 0.0),
        (0.2, 0.1, 0.0),  # held-out frames are easier
        (math.nan, 0.1, 1.0),  # unknown: as it is said
        (0.1, math.nan, 1.0),
        (0.1, math.inf, 1.0),
        (0.0, 0.0, 1.0),
    ],
)
def test_it_is_what_is_worse_on_frames_that_were_not_seen(learnt, held_out, left):
    assert headroom(learnt, held_out) == pytest.approx(left)


def test_what_ranks_add_up_in_another_order_comes_to_the_same():
    assert headroom(0.1 + 0.2, 0.9) == headroom(0.3, 0.9)
