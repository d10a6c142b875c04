import pytest
import torch

from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.losses.consistency import (
    coordinate_loss,
    label_heatmap_loss,
    tracking_consistency,
    valid_cells,
)
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import Task
from tsal_dist.recipes.target import Target
from tsal_dist.recipes.terms import target_maps


def test_teacher_by_hand():
    heat, rebuilt = torch.zeros(2, 1, 3, 4, 4), torch.ones(2, 1, 3, 4, 4)
    valid = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    valid[..., :8] = False
    term = tracking_consistency(heat, rebuilt, valid)
    assert (term.total, term.count) == (2 * 3 * 8 / 2, 0.5)


def test_occlusion_does_not_change_the_scale():
    heat, rebuilt = torch.zeros(1, 1, 3, 4, 4), torch.full((1, 1, 3, 4, 4), 0.5)
    whole, half = torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    half[..., :8, :] = 0
    assert (
        tracking_consistency(heat, rebuilt, whole).mean() == tracking_consistency(heat, rebuilt, half).mean()
    )


def test_nothing_valid_is_zero_and_finite():
    heat = torch.randn(1, 2, 3, 4, 4, requires_grad=True)
    loss = tracking_consistency(heat, torch.randn(1, 2, 3, 4, 4), torch.zeros(2, 1, 16, 16)).mean()
    loss.backward()
    assert loss == 0
    assert heat.grad.abs().max() == 0


def test_one_invalid_pixel_spoils_its_cell():
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    valid[0, 0, 5, 2] = False
    assert valid_cells(valid, (2, 2)).flatten().tolist() == [1, 1, 0, 1]


def test_gradient_flows_to_the_prediction_only():
    heat, rebuilt = (torch.randn(1, 2, 3, 4, 4, requires_grad=True) for _ in range(2))
    tracking_consistency(heat, rebuilt, torch.ones(2, 1, 16, 16)).mean().backward()
    assert heat.grad.abs().sum() > 0
    assert rebuilt.grad is None


def test_student_coordinates_by_hand():
    points = torch.tensor([[[3.0, 4.0], [10.0, 10.0]], [[0.0, 0.0], [1.0, 1.0]]])
    label = torch.zeros(2, 2, 2)
    weight = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    term = coordinate_loss(points, label, weight, sigma_px=5.0, reach=10.0, window_px=16.0)
    assert term.total == pytest.approx((25 + 100 + 2) / 25)
    assert term.count == 2


def test_a_far_point_pulls_straight_and_not_squared():
    """d sigmas away: d^2 up to the reach, then 2 r d - r^2, whose slope is the reach's."""
    points = torch.tensor([[[30.0, 0.0]]], requires_grad=True)
    label, weight = torch.zeros(1, 1, 2), torch.ones(1, 1)
    term = coordinate_loss(points, label, weight, sigma_px=5.0, reach=2.0, window_px=32.0)
    assert term.total.item() == pytest.approx(2 * 2 * 6 - 4)
    term.total.backward()
    assert points.grad[0, 0].tolist() == pytest.approx([2 * 2 / 5, 0.0])


def test_a_point_outside_of_what_the_student_sees_around_its_peak_is_left_to_the_heatmaps():
    points = torch.tensor([[[30.0, 0.0], [10.0, 10.0]]], requires_grad=True)
    term = coordinate_loss(points, torch.zeros(1, 2, 2), torch.ones(1, 2), 5.0, reach=1.0, window_px=16.0)
    term.total.backward()
    assert points.grad[0, 0].abs().max() == 0
    assert points.grad[0, 1].abs().min() > 0


def test_a_student_exactly_at_its_label_has_a_gradient_of_zero():
    points = torch.zeros(1, 1, 2, requires_grad=True)
    coordinate_loss(points, torch.zeros(1, 1, 2), torch.ones(1, 1), 5.0, 1.0, 16.0).total.backward()
    assert points.grad.abs().max() == 0


def test_student_heatmaps_by_hand():
    label = torch.tensor([[[20.0, 20.0], [5.0, 5.0]]])
    weight = torch.tensor([[0.5, 0.0]])
    wanted = encode_heatmap(label, weight > 0, (8, 8), 4, 6.0)
    term = label_heatmap_loss(torch.zeros(2, 1, 3, 8, 8), wanted, weight)
    target = encode_heatmap(label[:, :1], torch.ones(1, 1), (8, 8), 4, 6.0)[:, 0]
    assert term.total == pytest.approx(float(2 * 0.5 * target.square().sum() / 2))
    assert term.count == 1


def test_a_right_student_has_nothing_to_learn():
    label = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * 64
    heat = encode_heatmap(label, torch.ones(2, 5), (16, 16), 4, 6.0)
    assert label_heatmap_loss(heat[None], heat, torch.ones(2, 5)).total == 0
    assert coordinate_loss(label, label, torch.ones(2, 5), 6.0, 1.0, 16.0).total == 0


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_label_without_weight_may_be_anything(poison):
    points = torch.randn(1, 2, 2, requires_grad=True)
    heat = torch.randn(1, 1, 3, 4, 4, requires_grad=True)
    label = torch.tensor([[[1.0, 1.0], [poison, poison]]])
    weight = torch.tensor([[1.0, 0.0]])
    maps = DetectorOutput(heat, heat[0, :, :1], heat[0, :, :2])
    wanted = target_maps(Target(label, weight), maps, Task(2, 16, 4, 4, 6.0, 1))
    terms = [
        coordinate_loss(points, label, weight, 6.0, 1.0, 16.0),
        label_heatmap_loss(heat, wanted, weight),
    ]
    sum(term.mean() for term in terms).backward()
    assert points.grad.isfinite().all()
    assert heat.grad.isfinite().all()
    assert points.grad[0, 1].abs().max() == 0
    assert heat.grad[0, 0, 1].abs().max() == 0


def test_unsupervised_losses_move_the_heatmaps():
    """A student one cell off its label: both terms push, and a step along the gradient brings it nearer."""
    label = torch.tensor([[[34.0, 30.0]]])
    heat = encode_heatmap(label + 4, torch.ones(1, 1), (16, 16), 4, 6.0)[None].requires_grad_()

    wanted = encode_heatmap(label, torch.ones(1, 1), (16, 16), 4, 6.0)

    def loss(maps, share):
        points, _ = decode_heatmap(maps[-1, :, :-1], 4)
        weight = torch.ones(1, 1)
        coordinate = coordinate_loss(points, label, weight, 6.0, 1.0, 16.0).mean()
        return (1 - share) * coordinate + share * label_heatmap_loss(maps, wanted, weight).mean()

    for share in (0.0, 1.0):
        (gradient,) = torch.autograd.grad(loss(heat, share), heat)
        assert gradient.abs().sum() > 0
        assert loss(heat - 0.05 * gradient, share) < loss(heat, share)
