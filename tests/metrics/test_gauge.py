import numpy as np
import pytest

from tsal_dist.errors import TrainingError
from tsal_dist.metrics.gauge import CollapseGauge, measure


def test_falling_peaks_stop_the_run_after_burn_in_only():
    gauge = CollapseGauge(keep=0.5)
    gauge.observe(0.01)
    for _ in range(20):
        gauge.observe(0.8)
    gauge.end_burn_in()
    gauge.observe(0.5)
    gauge.observe(0.39)
    with pytest.raises(TrainingError, match="collapsed"):
        gauge.observe(0.0)


def test_one_hard_batch_is_no_collapse():
    gauge = CollapseGauge()
    gauge.observe(0.8)
    gauge.end_burn_in()
    gauge.observe(0.0)
    assert gauge.running == pytest.approx(0.76)


def test_peaks_that_are_not_numbers_stop_the_run():
    gauge = CollapseGauge()
    gauge.observe(0.8)
    gauge.end_burn_in()
    with pytest.raises(TrainingError):
        gauge.observe(float("nan"))


def test_gauge_goes_on_where_it_was():
    gauge = CollapseGauge()
    gauge.observe(0.8)
    gauge.end_burn_in()
    other = CollapseGauge()
    other.load_state_dict(gauge.state_dict())
    assert other == gauge


def test_measures_by_hand():
    peak = np.array([[0.0, 1.0], [0.5, 0.5]])
    points = np.array([[[0, 0], [0, 0]], [[2, 2], [4, 4]]])
    weight = np.array([[1.0, 0.0], [0.5, 0.0]])
    seen = measure(peak, points, weight)
    assert seen["peak_mean"] == 0.5
    assert seen["used_mean"] == 0.5
    assert seen["used_min"] == 0
    assert seen["spread_px"] == pytest.approx(1.5)
    assert seen["peak_p10"] == pytest.approx(0.15)
