import pytest
import torch

from tsal_dist.geometry.heatmap import cell_to_pixel, decode_heatmap, encode_heatmap, pixel_to_cell


def random_points(count, margin, size=256):
    return torch.rand(1, count, 2, generator=torch.Generator().manual_seed(0)) * (size - 2 * margin) + margin


@pytest.mark.parametrize(
    ("stride", "sigma_px", "worst_px"),
    # At stride 8 the cells are as wide as the gaussian: the floor of any centre of mass over them.
    [(4, 4.0, 0.1), (4, 6.0, 0.1), (8, 6.0, 0.13), (8, 4.0, 0.3)],
)
def test_decode_undoes_encode_without_bias(stride, sigma_px, worst_px):
    points = random_points(3000, 4 * sigma_px)
    heat = encode_heatmap(points, torch.ones(1, 3000), (256 // stride, 256 // stride), stride, sigma_px)
    found, score = decode_heatmap(heat[:, :-1], stride)
    error = found - points
    assert error.norm(dim=-1).max() < worst_px
    assert score.min() > 0.3
    for third in points[0, :, 0].argsort().chunk(3):  # left, middle and right of the crop alike
        assert error[0, third].mean(0).abs().max() < 0.02


def test_value_at_a_known_point():
    points = torch.tensor([[[100.0, 60.0]]])
    for sigma_px, expected in ((4.0, (99.93, 59.93)), (6.0, (100.05, 60.05))):
        heat = encode_heatmap(points, torch.ones(1, 1), (32, 32), 8, sigma_px)
        found, _ = decode_heatmap(heat[:, :-1], 8)
        torch.testing.assert_close(found[0, 0], torch.tensor(expected), atol=0.006, rtol=0)


def test_encode_is_the_formula():
    point = torch.tensor([[[21.0, 9.0]]])
    heat = encode_heatmap(point, torch.ones(1, 1), (4, 6), 8, 6.0)
    for row in range(4):
        for column in range(6):
            distance2 = (8 * column + 3.5 - 21) ** 2 + (8 * row + 3.5 - 9) ** 2
            value = torch.exp(torch.tensor(-distance2 / 72))
            expected = value if value >= 0.01 else 0.0
            assert heat[0, 0, row, column] == pytest.approx(float(expected), abs=1e-6)
    torch.testing.assert_close(heat[:, 1], 1 - heat[:, 0])


def test_hidden_point_leaves_an_empty_map_and_full_background():
    heat = encode_heatmap(torch.full((1, 2, 2), 30.0), torch.tensor([[1, 0]]), (8, 8), 8, 6.0)
    assert heat[0, 0].max() > 0.8
    assert heat[0, 1].abs().max() == 0
    everything_hidden = encode_heatmap(torch.zeros(1, 2, 2), torch.zeros(1, 2), (8, 8), 8, 6.0)
    assert everything_hidden[0, 2].min() == 1


def test_cells_and_pixels_are_inverses():
    pixel = torch.linspace(-3, 300, 50)
    torch.testing.assert_close(cell_to_pixel(pixel_to_cell(pixel, 4), 4), pixel)
    assert cell_to_pixel(torch.tensor(2.0), 8) == 19.5


def test_empty_map_decodes_to_its_highest_cell():
    heat = torch.full((1, 1, 8, 8), -1.0)
    heat[0, 0, 5, 2] = -0.5
    found, score = decode_heatmap(heat, 4)
    torch.testing.assert_close(found[0, 0], torch.tensor([9.5, 21.5]))
    assert score == -0.5


def test_gradient_moves_the_decoded_point():
    heat = encode_heatmap(torch.tensor([[[30.0, 30.0]]]), torch.ones(1, 1), (16, 16), 4, 6.0).requires_grad_()
    found, _ = decode_heatmap(heat[:, :-1], 4)
    found.sum().backward()
    assert heat.grad.abs().sum() > 0


def test_bfloat16_maps_decode_in_float32():
    heat = encode_heatmap(torch.tensor([[[30.0, 33.0]]]), torch.ones(1, 1), (16, 16), 4, 6.0)[:, :-1]
    found, _ = decode_heatmap(heat.bfloat16(), 4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([[[30.0, 33.0]]]), atol=0.1, rtol=0)


def test_squared_scores_ignore_a_far_shoulder():
    """A point at 30 px, and half as high a neighbour 12 px to the right that the window cuts a little."""
    near, far = torch.tensor([[[30.0, 30.0]]]), torch.tensor([[[42.0, 30.0]]])
    seen = torch.ones(1, 1)
    heat = sum(
        share * encode_heatmap(at, seen, (16, 16), 4, 4.0)[:, :-1] for share, at in ((1.0, near), (0.5, far))
    )
    plain, squared = (decode_heatmap(heat, 4, squared=each)[0][0, 0] for each in (False, True))
    assert plain[0] - 30 == pytest.approx(12 * 0.5 / 1.5, abs=0.5)
    assert squared[0] - 30 == pytest.approx(12 * 0.25 / 1.25, abs=0.5)
    torch.testing.assert_close(torch.stack([plain[1], squared[1]]), torch.full((2,), 30.0), atol=0.1, rtol=0)
    clean, _ = decode_heatmap(encode_heatmap(near, seen, (16, 16), 4, 4.0)[:, :-1], 4, squared=True)
    torch.testing.assert_close(clean, near, atol=0.1, rtol=0)
