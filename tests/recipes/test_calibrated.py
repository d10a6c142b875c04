"""A point counts by how likely it is near enough, as its stated error says."""

import math

import pytest
import torch

from tsal_dist.recipes.api import Task
from tsal_dist.recipes.calibrated import ErrorLabeller, Settings, likely_within
from tsal_dist.recipes.target import Evidence

TASK = Task(points=3, crop_px=96, stride=4, radius=4, sigma_px=4.0, clip_frames=1)
NEAR, HALF, FAR = 1.0, 1.67 * 4 * math.sqrt(math.pi / (4 * math.log(2))), 60.0
"""Expected errors of which the second one gives even chances."""


def evidence(error_NK, valid=True, fresh=1.0):
    error_NSK = torch.tensor(error_NK).unsqueeze(1)
    count = len(error_NK)
    return Evidence(
        sources=("heatmap",),
        points_NSK2=torch.zeros(count, 1, 3, 2),
        score_NSK=torch.ones(count, 1, 3),
        valid_NSK=torch.full((count, 1, 3), valid),
        fb_error_NK=torch.zeros(count, 3),
        fresh_N=torch.full((count,), fresh),
        error_NSK=error_NSK,
    )


def weights(labeller, *rows, **how):
    return labeller(evidence(list(rows), **how)).weight_NK


def used_to(labeller, *rows, batches=60):
    for _ in range(batches):
        labeller.observe(labeller.moments(evidence(list(rows))))
    return labeller


def test_the_probability_is_that_of_errors_that_are_normal_in_both_directions():
    random = torch.Generator().manual_seed(0)
    off_px = torch.randn(200_000, 2, generator=random).norm(dim=-1) * 3
    told = likely_within(off_px.mean(), 5.0)
    assert float(told) == pytest.approx(float((off_px < 5.0).float().mean()), abs=5e-3)


def test_a_point_counts_by_its_probability():
    got = weights(ErrorLabeller(Settings(), TASK), [NEAR, HALF, FAR])[0]
    assert got[0] > 0.99
    assert float(got[1]) == pytest.approx(0.5, abs=1e-5)
    assert got[2] < 0.02


@pytest.mark.parametrize("how", ["probability", "softmatch", "freematch"])
def test_what_is_not_known_or_not_valid_or_stale_teaches_nothing(how):
    labeller = ErrorLabeller(Settings(weigh=how), TASK)
    assert not weights(labeller, [math.nan] * 3).any()
    assert not weights(labeller, [NEAR] * 3, valid=False).any()
    assert not weights(labeller, [NEAR] * 3, fresh=0.0).any()
    assert weights(labeller, [NEAR] * 3).all()


def test_softmatch_counts_what_is_usual_or_better_in_full():
    labeller = used_to(
        ErrorLabeller(Settings(weigh="softmatch"), TASK), [NEAR, HALF, NEAR], [NEAR, HALF * 1.2, FAR]
    )
    got = weights(labeller, [NEAR, HALF, FAR], [NEAR, HALF * 2, NEAR])
    assert got[0, 1] == got[1, 2] == 1
    assert 0 < got[1, 1] < got[0, 2] < 1


def test_freematch_asks_less_of_a_landmark_that_lags_behind():
    labeller = used_to(ErrorLabeller(Settings(weigh="freematch"), TASK), [NEAR, HALF, NEAR])
    got = weights(labeller, [HALF, HALF, NEAR])
    assert got.tolist() == [[0.0, 1.0, 1.0]]


@pytest.mark.parametrize("how", ["softmatch", "freematch"])
def test_before_the_usual_is_known_every_point_counts(how):
    labeller = used_to(ErrorLabeller(Settings(weigh=how), TASK), [NEAR, HALF, FAR], batches=10)
    assert weights(labeller, [NEAR, HALF, FAR]).tolist() == [[1.0, 1.0, 1.0]]
