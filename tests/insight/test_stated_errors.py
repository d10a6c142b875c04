"""Stated errors are judged on other videos than those that gave them their meaning."""

import numpy as np
import pytest

from tsal_dist.insight.stated_errors import Looked, stated_and_true


def looked(rng, frames=400, lie=1.0):
    """Points whose error is told by their score, in the second half of the videos `lie` times as large."""
    score_NK = rng.uniform(0.05, 0.95, (frames, 3))
    half_N = np.arange(frames) % 2 == 1
    error_NK = 0.1 * (1 - score_NK) * np.where(half_N, lie, 1.0)[:, None]
    return Looked(score_NK, error_NK, np.ones((frames, 3), bool), half_N)


def test_what_holds_in_other_videos_lies_on_the_diagonal(rng):
    stated_M, true_M = stated_and_true(looked(rng))
    assert len(stated_M) == 1200
    np.testing.assert_allclose(stated_M, true_M, atol=0.012)


def test_what_does_not_hold_in_other_videos_shows(rng):
    """Were each half judged by itself, the promise would be kept."""
    stated_M, true_M = stated_and_true(looked(rng, lie=3.0))
    first, second = slice(0, 600), slice(600, 1200)
    assert stated_M[first].mean() == pytest.approx(3 * true_M[first].mean(), rel=0.1)
    assert stated_M[second].mean() == pytest.approx(true_M[second].mean() / 3, rel=0.1)


def test_hidden_points_say_nothing(rng):
    few = looked(rng)
    few.visible_NK[:, 1:] = False
    stated_M, true_M = stated_and_true(few)
    assert len(stated_M) == len(true_M) == 400
    few.visible_NK[:] = False
    assert len(stated_and_true(few)[0]) == 0
