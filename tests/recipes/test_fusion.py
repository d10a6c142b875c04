"""Fusion of sources: identical ones change nothing, one wrong one cannot move the result far."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.recipes.fusion import fuse_median, fuse_nearest, weighted_median


def test_two_identical_sources_agree_fully():
    points = torch.rand(2, 5, 2) * 90
    fused, distance = fuse_nearest(points, points.unsqueeze(1), 0.5)
    assert torch.equal(distance, torch.zeros(2, 5))
    torch.testing.assert_close(fused, points)


def test_the_nearest_detection_is_chosen_point_by_point():
    track = torch.tensor([[[0.0, 0.0], [50.0, 50.0]]])
    detections = torch.tensor([[[[4.0, 0.0], [90.0, 90.0]], [[40.0, 0.0], [50.0, 56.0]]]])
    fused, distance = fuse_nearest(track, detections, 0.5)
    torch.testing.assert_close(fused, torch.tensor([[[2.0, 0.0], [50.0, 53.0]]]))
    torch.testing.assert_close(distance, torch.tensor([[4.0, 6.0]]))


@pytest.mark.parametrize(("share", "expected"), [(0.0, 10.0), (0.25, 7.5), (1.0, 0.0)])
def test_the_track_share_moves_the_fused_point(share, expected):
    fused, _ = fuse_nearest(torch.zeros(1, 1, 2), torch.tensor([[[[10.0, 0.0]]]]), share)
    assert fused[0, 0, 0].item() == pytest.approx(expected)


def test_two_sources_give_the_same_distance_either_way():
    a, b = torch.rand(3, 4, 2) * 20, torch.rand(3, 4, 2) * 20
    near, near_distance = fuse_nearest(a, b.unsqueeze(1), 0.5)
    median, median_distance = fuse_median(torch.stack([a, b], 1), torch.ones(3, 2, 4))
    torch.testing.assert_close(median, near)
    torch.testing.assert_close(median_distance, near_distance)


def test_one_wild_source_of_three_is_outvoted():
    good = torch.tensor([[10.0, 20.0]])
    sources = torch.stack([good, good + 0.2, good + 500])[None]
    fused, distance = fuse_median(sources, torch.ones(1, 3, 1))
    assert (fused[0] - good).norm() < 0.5
    assert distance.item() < 1.0


def test_a_source_without_weight_has_no_voice():
    sources = torch.tensor([[[[1.0, 1.0]], [[3.0, 1.0]], [[900.0, 900.0]]]])
    fused, distance = fuse_median(sources, torch.tensor([[[1.0], [1.0], [0.0]]]))
    torch.testing.assert_close(fused, torch.tensor([[[2.0, 1.0]]]))
    assert distance.item() == pytest.approx(2.0)


def test_a_lone_source_has_nobody_to_agree_with():
    _, distance = fuse_median(torch.rand(1, 3, 1, 2), torch.tensor([[[1.0], [0.0], [0.0]]]))
    assert distance.item() == torch.inf


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.integers(1, 4)),
        min_size=1,
        max_size=7,
    )
)
def test_whole_weights_are_repetitions(pairs):
    """A weight of w must mean the same as w equal values of weight one."""
    value = torch.tensor([[float(v) for v, _ in pairs]])
    weight = torch.tensor([[float(w) for _, w in pairs]])
    repeated = torch.tensor([sorted(float(v) for v, w in pairs for _ in range(w))])
    count = repeated.shape[1]
    middle = (repeated[0, (count - 1) // 2] + repeated[0, count // 2]) / 2
    assert weighted_median(value, weight).item() == pytest.approx(middle.item())
