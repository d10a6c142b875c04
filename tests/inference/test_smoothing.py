"""Smoothing: against a Kalman smoother in matrices, and on motion whose truth is known."""

import tracemalloc

import numpy as np
import pytest

from tsal_dist.inference import smoothing
from tsal_dist.inference.smoothing import MEAN_OF_GAUSSIAN, Motion, read_motion, smooth
from tsal_dist.metrics.jitter import Jitter

FRAMES, POINTS = 120, 6


def paths(seed=0, speed=3.0):
    """Points that sway: slow waves of their own phase."""
    random = np.random.default_rng(seed)
    time_T = np.arange(FRAMES)[:, None]
    phase_K, period_K = random.uniform(0, 6, POINTS), random.uniform(40, 80, POINTS)
    wave_TK = np.sin(2 * np.pi * time_T / period_K + phase_K)
    return np.stack([100 + speed * 8 * wave_TK, 80 + speed * 5 * np.roll(wave_TK, 9, 0)], -1)


def noisy(truth_TK2, sigma_px, seed=1):
    return truth_TK2 + np.random.default_rng(seed).normal(0, sigma_px, truth_TK2.shape)


def error_px(found_TK2, truth_TK2):
    return float(np.linalg.norm(found_TK2 - truth_TK2, axis=-1).mean())


def jitter(points_TK2):
    gauge = Jitter()
    gauge.add(points_TK2, np.ones(len(points_TK2)))
    return gauge.mean


def stated(sigma_px):
    return np.full((FRAMES, POINTS), sigma_px * MEAN_OF_GAUSSIAN)


@pytest.mark.parametrize(("causal", "jitter_share", "error_share"), [(False, 0.25, 0.75), (True, 0.55, 0.9)])
def test_trembling_goes_and_truth_comes_nearer(causal, jitter_share, error_share):
    truth_TK2 = paths()
    raw_TK2 = noisy(truth_TK2, 2.0)
    found_TK2 = smooth(raw_TK2, stated(2.0), causal=causal)
    assert jitter(found_TK2) < jitter_share * jitter(raw_TK2)
    assert error_px(found_TK2, truth_TK2) < error_share * error_px(raw_TK2, truth_TK2)


def test_fast_motion_without_noise_is_left_alone():
    truth_TK2 = paths(speed=10.0)
    found_TK2 = smooth(noisy(truth_TK2, 0.05), stated(2.0))
    assert error_px(found_TK2, truth_TK2) < 0.15


def test_the_part_of_the_error_that_stays_is_not_taken_for_noise():
    """A detector that is off by the same 4 px in every frame trembles by a tenth of that."""
    truth_TK2 = paths()
    raw_TK2 = noisy(truth_TK2, 0.4) + 4.0
    found_TK2 = smooth(raw_TK2, stated(4.0))
    assert error_px(found_TK2, truth_TK2 + 4.0) < error_px(raw_TK2, truth_TK2 + 4.0)


def test_no_point_is_moved_by_more_than_it_claims():
    raw_TK2 = noisy(paths(), 3.0)
    raw_TK2[50] += 40  # a jump
    expected_TK = stated(1.0)
    moved_TK = np.linalg.norm(smooth(raw_TK2, expected_TK) - raw_TK2, axis=-1)
    assert moved_TK.max() <= expected_TK.max() * (1 + 1e-9)
    assert moved_TK.max() > 0.9 * expected_TK.max()


def subject(points=30, seed=5):
    """A shape that sways, turns and grows as a whole; no point of it moves within it."""
    time_T = np.arange(FRAMES)
    shape_K = np.random.default_rng(seed).normal(0, 20, (points, 2)) @ np.array([1, 1j])
    place_T = 100 + 80j + 20 * np.exp(2j * np.pi * time_T / 45)
    turn_T = (1 + 0.1 * np.sin(time_T / 9)) * np.exp(0.3j * np.sin(time_T / 8))
    z_TK = place_T[:, None] + turn_T[:, None] * shape_K
    return np.stack([z_TK.real, z_TK.imag], -1)


def test_what_all_points_do_together_is_followed_and_what_each_does_alone_is_held():
    """Causally: at an error of the detector's that stays, as most of it does."""
    truth_TK2 = subject()
    expected_TK = np.full(truth_TK2.shape[:2], 6.0)
    raw_TK2 = noisy(truth_TK2, 0.5) + np.random.default_rng(2).normal(0, 4, (1, 30, 2))
    found_TK2 = smooth(raw_TK2, expected_TK, causal=True)
    alone_TK2 = np.concatenate(
        [smooth(raw_TK2[:, [k, k]], expected_TK[:, [k, k]], causal=True)[:, :1] for k in range(0, 30, 6)], 1
    )
    assert jitter(found_TK2) < 0.45 * jitter(raw_TK2)
    assert jitter(found_TK2) < 0.9 * jitter(alone_TK2), "many points tell together how they move"
    assert error_px(found_TK2, truth_TK2) < 1.01 * error_px(raw_TK2, truth_TK2)


def test_causally_points_stray_little_from_where_they_are_known_to_be_afterwards():
    raw_TK2 = noisy(subject(), 0.5)
    expected_TK = np.full(raw_TK2.shape[:2], 6.0)
    steady_TK2, found_TK2 = smooth(raw_TK2, expected_TK), smooth(raw_TK2, expected_TK, causal=True)
    square, raw_square = (float(((one - steady_TK2) ** 2).sum(-1).mean()) for one in (found_TK2, raw_TK2))
    assert square <= raw_square + smoothing.WORSE * 6.0**2


@pytest.mark.parametrize("points", [1, 2, 5])
def test_without_a_shape_each_point_is_for_itself(points):
    """Too few points, or points that fall together."""
    truth_TK2 = subject(points)
    raw_TK2 = noisy(truth_TK2, 0.5)
    raw_TK2[60:70] = raw_TK2[60:70].mean(1, keepdims=True)
    assert smoothing._Together.of(raw_TK2, np.full(raw_TK2.shape[:2], 2.0), np.ones(FRAMES)) is None
    found_TK2 = smooth(raw_TK2, np.full(raw_TK2.shape[:2], 2.0), causal=True)
    assert np.isfinite(found_TK2).all()
    assert jitter(found_TK2) < jitter(raw_TK2)


def test_a_point_that_is_unsure_for_a_while_follows_the_sure_frames():
    truth_TK2 = paths()
    raw_TK2, expected_TK = noisy(truth_TK2, 0.5), stated(0.5)
    raw_TK2[40:46, 0] += (5.0, -4.0)
    expected_TK[40:46, 0] = 12.0
    found_TK2 = smooth(raw_TK2, expected_TK)
    assert error_px(found_TK2[40:46, 0], truth_TK2[40:46, 0]) < 0.6 * error_px(
        raw_TK2[40:46, 0], truth_TK2[40:46, 0]
    )
    sure = np.r_[10:35, 55:110]
    assert error_px(found_TK2[sure], truth_TK2[sure]) < error_px(raw_TK2[sure], truth_TK2[sure])


def test_causally_the_future_changes_nothing():
    raw_TK2 = noisy(paths(), 1.0)
    later = raw_TK2.copy()
    later[90:] += 7
    motion = Motion(0.1, 0.4)
    runs = [
        list(smoothing._filter(each, stated(1.0), np.ones(FRAMES), [motion])) for each in (raw_TK2, later)
    ]
    for one, other in zip(*(steps[:90] for steps in runs), strict=True):
        assert np.array_equal(one.belief.place_GK2, other.belief.place_GK2)


def test_two_frames_are_left_as_they_are():
    raw_TK2 = noisy(paths(), 1.0)[:2]
    assert np.array_equal(smooth(raw_TK2, stated(1.0)[:2]), raw_TK2)


def by_matrices(points_T, noise_T, change, gaps_T):
    """Kalman's filter and the smoother of Rauch, Tung and Striebel for one coordinate, as textbooks write them."""
    usual2 = noise_T["usual"] ** 2
    state, cover = np.array([points_T[0], 0.0]), np.diag([noise_T["noise"][0], usual2])
    seen = np.array([[1.0, 0.0]])
    states, covers, ahead, ahead_covers = [state], [cover], [state], [cover]
    for point, noise, gap in zip(points_T[1:], noise_T["noise"][1:], gaps_T[1:], strict=True):
        step = np.array([[1.0, gap], [0.0, 1.0]])
        growth = change**2 * np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]])
        state, cover = step @ state, step @ cover @ step.T + growth
        ahead.append(state)
        ahead_covers.append(cover)
        gain = cover @ seen.T / (seen @ cover @ seen.T + noise)
        state, cover = state + (gain * (point - state[0])).ravel(), (np.eye(2) - gain @ seen) @ cover
        states.append(state)
        covers.append(cover)
    for t in range(len(states) - 2, -1, -1):
        step = np.array([[1.0, gaps_T[t + 1]], [0.0, 1.0]])
        gain = covers[t] @ step.T @ np.linalg.inv(ahead_covers[t + 1])
        states[t] = states[t] + gain @ (states[t + 1] - ahead[t + 1])
    return np.array([state[0] for state in states])


def test_it_is_the_smoother_of_the_textbooks():
    """With uneven times between frames and errors that differ."""
    random = np.random.default_rng(3)
    raw_TK2 = noisy(paths(), 1.0)[:40]
    expected_TK = random.uniform(0.5, 3.0, raw_TK2.shape[:2])
    gaps_T = random.uniform(0.5, 2.0, 40)
    motion = Motion(0.2, 0.4)
    found_TK2 = smoothing._look_back(list(smoothing._filter(raw_TK2, expected_TK, gaps_T, [motion])), gaps_T)
    usual = float(np.median(expected_TK))
    for point, axis in ((0, 0), (3, 1), (5, 0)):
        noise = (motion.share * expected_TK[:, point] / MEAN_OF_GAUSSIAN) ** 2
        expected = by_matrices(
            raw_TK2[:, point, axis], {"noise": noise, "usual": usual}, motion.change * usual, gaps_T
        )
        np.testing.assert_allclose(found_TK2[:, point, axis], expected, atol=1e-6)


def test_the_motion_is_read_off_the_video():
    """Points that shake a lot and points that hardly do, at the same stated error."""
    calm = read_motion(noisy(paths(speed=0.3), 0.2), stated(2.0), np.ones(FRAMES))
    shaken = read_motion(noisy(paths(speed=0.3), 1.6), stated(2.0), np.ones(FRAMES))
    assert calm.share <= 0.2 < shaken.share


def most_memory(work):
    """Bytes that `work` holds at once, at most; the first time, which may import something, does not count."""
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_tried_is_not_kept():
    """A hundred pairs are tried on up to 400 frames, and of the beliefs only one frame's are in memory."""
    raw_TK2, gaps_T = noisy(paths(), 1.0), np.ones(FRAMES)
    few, many = (
        most_memory(
            lambda frames=frames: read_motion(raw_TK2[:frames], stated(2.0)[:frames], gaps_T[:frames])
        )
        for frames in (30, FRAMES)
    )
    assert many < 1.2 * few


def test_causally_only_places_are_kept():
    """What is believed of velocities, and how surely, serves to look back, which nobody does there."""
    raw_TK2 = noisy(subject(60), 0.5)
    seen = raw_TK2, np.full(raw_TK2.shape[:2], 6.0), np.ones(FRAMES)
    assert most_memory(lambda: smoothing._Alone(seen, Motion(0.1, 0.4)).calmed(1.0)) < 4 * raw_TK2.nbytes
