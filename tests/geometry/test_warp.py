import pytest
import torch

from tsal_dist.geometry import affine
from tsal_dist.geometry.warp import forward_backward_error, not_occluded, resample, sample, warp


def make_image(height=24, width=37):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(2))


def constant_flow(x, y, height=24, width=37):
    return torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(2, 2, height, width).clone()


def test_zero_flow_is_the_identity():
    image = make_image()
    rebuilt, valid = warp(image, constant_flow(0, 0))
    torch.testing.assert_close(rebuilt, image, atol=1e-5, rtol=0)
    assert valid.all()


@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, -4), (-5, 2)])
def test_constant_flow_shifts_exactly(x, y):
    image = make_image()
    rebuilt, valid = warp(image, constant_flow(x, y))
    expected = torch.roll(image, (-y, -x), (2, 3))
    inside = valid.expand_as(image)
    torch.testing.assert_close(rebuilt[inside], expected[inside], atol=1e-5, rtol=0)
    assert valid.sum() == 2 * (24 - abs(y)) * (37 - abs(x))


def test_sampling_at_pixels_reads_them():
    image = make_image()
    points = torch.tensor([[[4.0, 7.0]], [[36.0, 23.0]]])
    torch.testing.assert_close(sample(image, points)[0, 0], image[0, :, 7, 4], atol=1e-5, rtol=0)
    torch.testing.assert_close(sample(image, points)[1, 0], image[1, :, 23, 36], atol=1e-5, rtol=0)


def test_flows_that_undo_each_other_have_no_error():
    there, back = constant_flow(2.5, -1), constant_flow(-2.5, 1)
    assert forward_backward_error(there, back).max() < 1e-5
    valid = not_occluded(there, back)
    assert valid[:, :, 2:, :34].all()
    assert not valid[:, :, :, 36].any()


def test_flows_that_disagree_are_not_trusted():
    there, back = constant_flow(2, 0), constant_flow(1, 0)
    assert forward_backward_error(there, back).min() == pytest.approx(3)
    assert not not_occluded(there, back).any()


def test_gradient_reaches_image_and_flow():
    image, flow = make_image().requires_grad_(), constant_flow(0.3, 0.2).requires_grad_()
    warp(image, flow)[0].square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert flow.grad.abs().sum() > 0


def test_resampling_moves_what_a_matrix_says():
    """A ramp shows where each pixel came from; beyond the border it stays at its last value."""
    ramp = torch.arange(8.0).expand(1, 1, 5, 8)
    shifted = resample(ramp, affine.translate(1.5, 0.0))
    torch.testing.assert_close(shifted[0, 0, 2], torch.tensor([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.0, 7.0]))
    turned = resample(
        ramp, affine.chain(affine.translate(-3.5, -2), affine.rotate(90), affine.translate(3.5, 2))
    )
    # Out(p) = map(source p): a quarter turn clockwise of the place to look at shows the ramp against y.
    torch.testing.assert_close(turned[0, 0, :, 3], torch.tensor([5.5, 4.5, 3.5, 2.5, 1.5]))
    torch.testing.assert_close(resample(ramp, affine.scale(1.0)), ramp)
