import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.metrics.face_errors import THRESHOLDS, FaceErrors

BOX = (0.0, 0.0, 100.0, 100.0)


def faces_with(nmes):
    """One-point faces of size 100 with these errors."""
    errors = FaceErrors(1, "face_size")
    truth = np.full((len(nmes), 1, 2), 50.0)
    predicted = truth.copy()
    predicted[:, 0, 0] += np.array(nmes) * 100
    errors.add(predicted, truth, np.ones((len(nmes), 1), bool), np.tile(BOX, (len(nmes), 1)))
    return errors


def test_nme_by_hand():
    truth = np.zeros((1, 68, 2))
    truth[0, 45] = (50, 0)
    predicted = truth + [3.0, 4.0]
    visible = np.ones((1, 68), bool)
    predicted[0, 10] += 1000
    visible[0, 10] = False
    errors = FaceErrors(68, "inter_ocular")
    assert errors.add(predicted, truth, visible) == pytest.approx([0.1])
    assert errors.nme == pytest.approx(0.1)
    assert errors.nme_per_point[0] == pytest.approx(0.1)
    assert np.isnan(errors.nme_per_point[10])


def test_points_are_averaged_in_a_face_before_faces_are():
    truth = np.zeros((2, 2, 2))
    predicted = np.array([[[10.0, 0], [0, 0]], [[20, 0], [0, 0]]])
    visible = np.array([[True, True], [True, False]])
    errors = FaceErrors(2, "face_size")
    errors.add(predicted, truth, visible, np.tile(BOX, (2, 1)))
    assert errors.nme == pytest.approx((0.05 + 0.2) / 2)
    assert errors.nme_per_point.tolist() == pytest.approx([0.15, 0.0])


def test_what_all_faces_lean_to_is_kept_apart_from_how_far_they_are_off():
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 80, (50, 4, 2))
    visible = rng.random((50, 4)) < 0.8
    visible[:, 0] = True
    off = rng.normal(0, 2, truth.shape) + [3.0, -1.0]
    truth[~visible] = np.nan
    boxes = np.tile(BOX, (50, 1))
    whole, halves = FaceErrors(4, "face_size"), [FaceErrors(4, "face_size") for _ in range(2)]
    whole.add(truth + off, truth, visible, boxes)
    for half, part in zip(halves, (slice(0, 20), slice(20, 50)), strict=True):
        half.add((truth + off)[part], truth[part], visible[part], boxes[part])
    per_face = np.stack([(one[seen] / 100).mean(0) for one, seen in zip(off, visible, strict=True)])
    for errors in (whole, halves[0] + halves[1]):
        assert errors.lean_2 == pytest.approx(per_face.mean(0))


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("error", [0.0, 0.01, 0.035, 0.069])
def test_auc_of_a_constant_error(error, threshold):
    errors = faces_with([error] * 7)
    assert errors.auc(threshold) == pytest.approx(1 - error / threshold)
    assert errors.failure_rate(threshold) == 0


def test_failures_have_no_area():
    errors = faces_with([0.2, 0.03, 0.09, 0.075])
    assert errors.failure_rate(0.07) == 0.75
    assert errors.failure_rate(0.08) == 0.5
    assert errors.failure_rate(0.10) == 0.25
    assert errors.auc(0.07) == pytest.approx((1 - 3 / 7) / 4)


def test_curve_counts_faces_and_encloses_the_auc():
    rng = np.random.default_rng(0)
    errors = faces_with(rng.gamma(2, 0.03, 400))
    at, share = errors.ced(0.08)
    assert share[0] == 0
    assert share[-1] == pytest.approx(1 - errors.failure_rate(0.08), abs=0.003)
    assert np.trapezoid(share, at) / 0.08 == pytest.approx(errors.auc(0.08), abs=2e-3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.9), min_size=1, max_size=30))
def test_median_is_that_of_the_faces(nmes):
    nmes = sorted(nmes)
    low, high = nmes[(len(nmes) - 1) // 2], nmes[len(nmes) // 2]
    assert low - 1.1e-4 <= faces_with(nmes).median <= high + 1.1e-4


@settings(deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=20), st.integers(0, 20))
def test_halves_add_up_to_the_whole(nmes, cut):
    cut = min(cut, len(nmes))
    whole = faces_with(nmes)
    merged = faces_with(nmes[:cut]) + faces_with(nmes[cut:])
    np.testing.assert_allclose(merged.vector, whole.vector, atol=1e-9)
    assert merged.summary() == pytest.approx(whole.summary(), abs=1e-6, nan_ok=True)


def test_frames_without_truth_are_skipped_and_counted():
    errors = FaceErrors(68, "inter_ocular")
    truth = np.zeros((3, 68, 2))
    truth[0, 45] = (10, 0)  # the second face has no length, the third no label
    visible = np.ones((3, 68), bool)
    visible[2] = False
    nme = errors.add(truth + 1, truth, visible)
    assert np.isfinite(nme[0])
    assert np.isnan(nme[1:]).all()
    assert (errors.faces, errors.bad_length, errors.unlabelled) == (1, 1, 1)


def test_a_prediction_that_is_not_a_number_is_an_error_not_a_gap():
    errors = FaceErrors(1, "face_size")
    errors.add(np.full((1, 1, 2), np.nan), np.zeros((1, 1, 2)), np.ones((1, 1), bool), np.array([BOX]))
    assert (errors.faces, errors.not_finite, errors.nme) == (1, 1, 1.0)
    assert errors.failure_rate(0.10) == 1


@pytest.mark.parametrize(("off", "nme"), [(0.0, 1.0), (300.0, (1 + 67 * 3) / 68)])
def test_a_face_with_one_broken_point_does_not_look_good(off, nme):
    """Whatever its other 67 points are like; of the landmarks only the broken one is off by 1."""
    truth = np.full((1, 68, 2), 50.0)
    predicted = truth + [off, 0.0]
    predicted[0, 7] = np.nan
    errors = FaceErrors(68, "face_size")
    found = errors.add(predicted, truth, np.ones((1, 68), bool), np.array([BOX]))
    assert (errors.faces, errors.not_finite) == (1, 1)
    assert found == pytest.approx([nme])
    assert errors.nme == pytest.approx(nme)
    assert errors.median == pytest.approx(1.0, abs=1e-4)
    assert (errors.failure_rate(0.10), errors.auc(0.10)) == (1, 0)
    assert errors.nme_per_point[[6, 7]].tolist() == pytest.approx([off / 100, 1.0])


def test_a_broken_point_that_is_not_judged_is_no_error():
    truth, seen = np.full((1, 2, 2), 50.0), np.array([[True, False]])
    predicted = np.array([[[50.0, 50.0], [np.nan, 50.0]]])
    errors = FaceErrors(2, "face_size")
    errors.add(predicted, truth, seen, np.array([BOX]))
    assert (errors.not_finite, errors.nme) == (0, 0.0)


def test_an_empty_test_set_has_no_numbers():
    row = FaceErrors(68, "inter_ocular").summary()
    assert np.isnan(row["nme"])
    assert np.isnan(row["nme_median"])
    assert row["faces"] == 0


def test_errors_by_different_lengths_do_not_add():
    with pytest.raises(DataError, match="same normalizer"):
        FaceErrors(68, "inter_ocular") + FaceErrors(68, "inter_pupil")


def test_another_layout_is_refused():
    with pytest.raises(DataError, match="68, 2"):
        FaceErrors(68, "face_size").add(np.zeros((1, 98, 2)), np.zeros((1, 98, 2)), np.ones((1, 98), bool))
