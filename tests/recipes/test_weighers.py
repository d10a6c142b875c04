"""Weights of pseudo-labelled points: their formulas, their limits, and what a resume needs."""

import math

import pytest
import torch

from tsal_dist.recipes.weighers import SoftScore, agreement, fb_error


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(0.0, 1.0), (4.0, math.exp(-1 / 4)), (6.6, math.exp(-(6.6**2) / 64)), (6.7, 0.0), (math.inf, 0.0)],
)
def test_agreement_follows_its_formula_up_to_the_cutoff(distance, expected):
    assert agreement(torch.tensor([[distance]]), 4.0, 1.67).item() == pytest.approx(expected)


def test_agreement_is_the_overlap_of_two_gaussians():
    """The cutoff's reason: there, being right loses as much as predicting nothing."""
    sigma, cell = 4.0, torch.arange(-60.0, 60.0)
    y, x = torch.meshgrid(cell, cell, indexing="ij")
    at = 2 * math.sqrt(math.log(2)) * sigma
    here = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    there = torch.exp(-((x - at) ** 2 + y**2) / (2 * sigma**2))
    overlap = (here * there).sum() / here.square().sum()
    assert agreement(torch.tensor([[at]]), sigma, 1.67).item() == pytest.approx(overlap.item(), rel=1e-4)
    assert (here - there).square().sum().item() == pytest.approx(there.square().sum().item(), rel=1e-4)


def test_trust_in_a_track_falls_from_one():
    assert fb_error(torch.tensor([[0.0, 1.5]]), 1.5).tolist()[0] == pytest.approx([1.0, math.exp(-0.5)])


TOLD = torch.ones(1, 1, dtype=torch.bool)


def filled(batches, scores):
    soft = SoftScore(scores.shape[1], warmup=5)
    for _ in range(batches):
        soft.observe(SoftScore.moments(scores, TOLD))
    return soft


def test_equal_scores_weigh_equally():
    scores = torch.full((8, 3), 0.6)
    assert torch.equal(filled(10, scores)(scores), torch.ones(8, 3))


def test_each_landmark_is_measured_by_its_own_mean():
    """A jaw point at its usual low peak counts in full; an eye corner at that same height does not."""
    torch.manual_seed(0)
    eye, jaw = 0.9 + 0.05 * torch.randn(200, 1), 0.3 + 0.05 * torch.randn(200, 1)
    soft = filled(10, torch.cat([eye, jaw], 1))
    weight = soft(torch.tensor([[0.31, 0.31]]))
    assert weight[0, 0] < 1e-6
    assert weight[0, 1] > 0.95


def test_nothing_is_weighed_before_enough_was_seen():
    scores = torch.rand(8, 3)
    assert torch.equal(filled(4, scores)(scores), torch.ones(8, 3))
    assert filled(6, scores)(scores).min() < 1


def test_ranks_that_add_their_moments_weigh_as_one():
    scores = torch.rand(12, 4)
    whole, split = SoftScore(4, warmup=0), SoftScore(4, warmup=0)
    whole.observe(SoftScore.moments(scores, TOLD))
    split.observe(SoftScore.moments(scores[:5], TOLD) + SoftScore.moments(scores[5:], TOLD))
    torch.testing.assert_close(whole(scores), split(scores))


def test_rows_that_were_lost_are_not_usual():
    """Their scores are zeros: taken for scores, they would make the worst points as good as any."""
    scores = torch.rand(8, 3) * 0.1 + 0.7
    lost = torch.cat([scores, torch.zeros(8, 3)])
    told = torch.arange(16).unsqueeze(1) < 8
    soft, whole = filled(10, scores), filled(10, scores)
    soft.observe(SoftScore.moments(lost, told))
    whole.observe(SoftScore.moments(scores, TOLD))
    assert torch.equal(soft(scores / 2), whole(scores / 2))
    soft.observe(SoftScore.moments(lost, told & torch.tensor([True, False, True])))
    whole.observe(SoftScore.moments(scores, TOLD))
    torch.testing.assert_close(soft(scores / 2)[:, 1], whole(scores / 2)[:, 1], msg="of one nothing is told")


def test_an_empty_batch_changes_nothing():
    scores = torch.rand(8, 3)
    soft = filled(6, scores)
    before = soft(scores)
    soft.observe(torch.zeros(3, 3))
    assert torch.equal(soft(scores), before)


def test_a_resumed_weigher_weighs_alike():
    scores = torch.rand(8, 3)
    soft = filled(6, scores)
    again = SoftScore(3, warmup=5)
    again.load_state_dict(soft.state_dict())
    for weigher in (soft, again):
        weigher.observe(SoftScore.moments(scores.flip(0) ** 2, TOLD))
    assert torch.equal(soft(scores), again(scores))
