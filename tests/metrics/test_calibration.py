"""Calibration against synthetic truth: errors whose law is known are stated as they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.metrics.calibration import Calibration, Tally, fit
from tsal_dist.metrics.isotonic import rising


def sigma_px(score):
    """The truth of these tests: how wide errors scatter at a score."""
    return 0.7 + 12 * (1 - score) ** 2


def drawn(frames, points=3, seed=0, factor_K=1.0, low=0.2):
    """Scores, and errors in the plane whose coordinates are gaussian: their lengths follow Rayleigh's law."""
    random = np.random.default_rng(seed)
    score_NK = random.uniform(low, 1.0, (frames, points))
    error_NK = random.rayleigh(sigma_px(score_NK) * factor_K)
    return score_NK, error_NK, np.ones((frames, points), np.bool_)


def asked(score, points=3):
    return torch.full((1, points), float(score), dtype=torch.float64)


@pytest.mark.parametrize("score", [0.25, 0.4, 0.6, 0.8, 0.95])
def test_the_expected_error_is_the_true_mean(score):
    known = fit(*drawn(6000))
    truth = sigma_px(score) * np.sqrt(np.pi / 2)
    np.testing.assert_allclose(known.expected_px(asked(score)), truth, rtol=0.12)


def test_a_landmark_that_is_harder_has_a_curve_of_its_own():
    known = fit(*drawn(6000, factor_K=np.array([1.0, 1.0, 3.0])))
    expected = known.expected_px(asked(0.7))[0]
    assert expected[2] / expected[0] == pytest.approx(3.0, rel=0.1)


def test_a_hundred_frames_tell_how_hard_a_landmark_is():
    """Few of its points stand behind each knot, but all of them tell by how much to stretch the common curve."""
    factor_K = np.array([1.0] * 8 + [3.0])
    known = fit(*drawn(100, points=9, factor_K=factor_K, seed=5))
    for score in (0.4, 0.6, 0.8):
        truth = sigma_px(score) * np.sqrt(np.pi / 2) * factor_K
        np.testing.assert_allclose(known.expected_px(asked(score, 9))[0], truth, rtol=0.3)


def test_a_landmark_seen_seldom_borrows_from_all():
    """Three points of the third landmark, three times as far off, are too few to say so."""
    score_NK, error_NK, visible_NK = drawn(4000, factor_K=np.array([1.0, 1.0, 3.0]))
    visible_NK[3:, 2] = False
    known = fit(score_NK, error_NK, visible_NK)
    expected = known.expected_px(asked(0.7))[0]
    assert 1.0 < expected[2] / expected[0] < 1.4
    assert known.seen_K.tolist() == [4000, 4000, 3]


def test_points_without_truth_teach_nothing():
    score_NK, error_NK, visible_NK = drawn(1000)
    hidden = visible_NK.copy()
    hidden[500:] = False
    error_NK[500:] = np.nan
    same = fit(score_NK[:500], error_NK[:500], visible_NK[:500])
    for ours, theirs in zip(
        fit(score_NK, error_NK, hidden).to_tensors().values(), same.to_tensors().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_score_lower_than_any_that_was_seen_is_trusted_less_and_less():
    known = fit(*drawn(3000, low=0.4), no_evidence_px=64.0)
    edge, below, none = (known.expected_px(asked(score))[0, 0] for score in (0.41, 0.2, 0.0))
    assert edge < below < none
    assert none == 64.0
    assert known.expected_px(asked(float("nan")))[0, 0] == 64.0


def test_without_a_word_on_it_no_evidence_means_the_largest_error():
    score_NK, error_NK, visible_NK = drawn(500)
    assert fit(score_NK, error_NK, visible_NK).expected_px(asked(0.0))[0, 0] >= error_NK.max()


def test_a_prediction_that_is_no_number_counts_as_far_off():
    score_NK, error_NK, visible_NK = drawn(400)
    broken = error_NK.copy()
    broken[:200] = np.nan
    known, sound = fit(score_NK, broken, visible_NK), fit(score_NK, error_NK, visible_NK)
    assert (known.expected_px(asked(0.9)) > 100 * sound.expected_px(asked(0.9))).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1.5), st.floats(0, 3000)), min_size=1, max_size=200),
    st.lists(st.floats(0, 1.2), min_size=2, max_size=20),
)
def test_curves_are_monotone_whatever_was_counted(points, scores):
    score_NK, error_NK = (np.array(column)[:, None] for column in zip(*points, strict=True))
    known = fit(score_NK, error_NK, np.ones_like(score_NK, np.bool_))
    at = torch.tensor(sorted(scores), dtype=torch.float64)[:, None]
    assert (known.expected_px(at).diff(dim=0) <= 1e-9).all()


def test_what_is_stated_holds_on_other_frames():
    """Points sorted by what is stated of them, in tenths: in each the mean error is the stated one."""
    known = fit(*drawn(4000, seed=1))
    score_NK, error_NK, _ = drawn(4000, seed=2)
    stated = known.expected_px(torch.from_numpy(score_NK)).numpy().ravel()
    for part in np.array_split(np.argsort(stated), 10):
        np.testing.assert_allclose(stated[part].mean(), error_NK.ravel()[part].mean(), rtol=0.1)


def test_it_comes_back_from_its_tensors():
    known = fit(*drawn(300))
    again = Calibration.from_tensors({**known.to_tensors(), "of somebody else": torch.zeros(1)})
    assert torch.equal(again.expected_px(asked(0.5)), known.expected_px(asked(0.5)))


def test_damaged_tensors_are_refused():
    tensors = fit(*drawn(300)).to_tensors()
    with pytest.raises(CheckpointError, match="lacks knot_G"):
        Calibration.from_tensors({name: each for name, each in tensors.items() if name != "knot_G"})
    with pytest.raises(CheckpointError, match="does not fit its 3 landmarks"):
        Calibration.from_tensors({**tensors, "expected_KG": tensors["expected_KG"][:2]})


def test_what_does_not_fit_is_named():
    score_NK, error_NK, visible_NK = drawn(10)
    with pytest.raises(DataError, match=r"should all be \(frames, 2\)"):
        Tally(2).add(score_NK, error_NK, visible_NK)
    with pytest.raises(DataError, match="at least one labelled point"):
        fit(score_NK, error_NK, np.zeros_like(visible_NK))
    with pytest.raises(DataError, match="scores of 2 landmarks, and the calibration is of 3"):
        fit(score_NK, error_NK, visible_NK).expected_px(asked(0.5, points=2))


def pooled_one_by_one(mean, weight):
    """The textbook's way: a place that falls below the one before is averaged with it."""
    blocks = []
    for value, heavy in zip(mean, weight, strict=True):
        blocks.append([value, heavy, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = before[1] + last[1]
            blocks.append([(before[0] * before[1] + last[0] * last[1]) / total, total, before[2] + last[2]])
    return np.concatenate([[value] * times for value, _, times in blocks])


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 50)), min_size=1, max_size=30))
def test_the_nearest_rising_sequence(pairs):
    mean, weight = (np.array(column) for column in zip(*pairs, strict=True))
    both_Gx = np.stack([mean, -mean], axis=1)
    expected = np.stack([pooled_one_by_one(mean, weight), pooled_one_by_one(-mean, weight)], axis=1)
    np.testing.assert_allclose(rising(both_Gx, weight), expected, atol=1e-7)


def test_counts_of_several_are_those_of_all():
    drawn_one, drawn_two = drawn(50, seed=1), drawn(70, seed=2)
    one, two, both = Tally(3), Tally(3), Tally(3)
    one.add(*drawn_one)
    two.add(*drawn_two)
    for each in (drawn_one, drawn_two):
        both.add(*each)
    one.add_counts(two.counts())
    for name, counted in both.counts().items():
        np.testing.assert_allclose(one.counts()[name], counted)


def test_what_fades_counts_less_beside_what_is_new():
    """A hundred old points of 9 px at a hundredth, beside a hundred new ones of 1 px."""
    tally = Tally(1)
    ones = np.ones((100, 1))
    tally.add(ones * 0.5, ones * 9, ones > 0)
    tally.fade(0.01)
    tally.add(ones * 0.5, ones, ones > 0)
    assert tally.error_sum_KB.sum() / tally.count_KB.sum() == pytest.approx((9 * 1 + 100) / 101)
