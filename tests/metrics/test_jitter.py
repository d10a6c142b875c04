import numpy as np
import pytest

from tsal_dist.metrics.jitter import Jitter


def path(x_T):
    points = np.zeros((len(x_T), 3, 2))
    points[:, :, 0] = np.asarray(x_T, float)[:, None]
    return points


def test_steady_motion_does_not_shake():
    jitter = Jitter()
    jitter.add(path([0, 2, 4, 6, 8]), np.full(5, 10.0))
    assert jitter.mean == 0
    assert jitter.count == 9


def test_shaking_by_hand_in_face_lengths():
    jitter = Jitter()
    jitter.add(path([0, 1, 0, 1]), np.full(4, 10.0))
    assert jitter.mean == pytest.approx(0.2)


def test_a_frame_without_a_face_breaks_the_chain():
    jitter = Jitter()
    jitter.add(path([0, 0, 500, 0, 0, 0, 0]), np.array([1, 1, np.nan, 1, 1, 1, 1.0]))
    assert jitter.mean == 0
    assert jitter.count == 6


def test_videos_merge_and_short_ones_say_nothing():
    one, two = Jitter(), Jitter()
    one.add(path([0, 1, 0]), np.ones(3))
    two.add(path([0, 0, 0]), np.ones(3))
    assert (one + two).mean == pytest.approx(1.0)
    short = Jitter()
    short.add(path([0, 1]), np.ones(2))
    assert np.isnan(short.mean)
