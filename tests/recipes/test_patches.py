"""Maps around points, in eight bits, through the queue and into another view."""

import pytest
import torch

from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.recipes.patches import cut_patches, lay_patches

STRIDE, CELLS, SIGMA_PX = 4, 24, 6.0


@pytest.fixture
def points():
    generator = torch.Generator().manual_seed(0)
    return 30 + 36 * torch.rand(3, 5, 2, generator=generator)


@pytest.fixture
def heat(points):
    return encode_heatmap(points, torch.ones(points.shape[:2]), (CELLS, CELLS), STRIDE, SIGMA_PX)[:, :5]


def test_a_patch_that_is_laid_where_it_was_cut_is_the_map(points, heat):
    patch = cut_patches(heat, points, 15, STRIDE)
    assert patch.dtype == torch.uint8
    cell = STRIDE * torch.eye(2).expand(3, 2, 2)
    laid = lay_patches(patch, points, cell, (CELLS, CELLS), STRIDE)
    assert (laid - heat).abs().max() < 0.06, "two readings between cells, and eight bits"


def test_the_patch_is_centred_at_its_point_wherever_that_lies_between_cells(points, heat):
    patch = cut_patches(heat, points, 15, STRIDE).float() / 255
    middle, _ = decode_heatmap(patch, 1, 4)
    torch.testing.assert_close(middle, torch.full_like(middle, 7.0), rtol=0, atol=0.1)


@pytest.mark.parametrize(
    "turn",
    [
        [[1.5, 0.0], [0.0, 1.5]],
        [[0.0, -1.0], [1.0, 0.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
    ],
    ids=["larger", "turned", "mirrored"],
)
def test_another_view_sees_the_map_at_its_own_scale_and_turn(points, turn):
    """An oblong map tells turns apart; its spread follows the view."""
    matrix = torch.tensor(turn)
    row, column = torch.meshgrid(torch.arange(15.0) - 7, torch.arange(15.0) - 7, indexing="ij")
    oblong = torch.exp(-(column**2) / (2 * 2.5**2) - row**2 / (2 * 1.0**2))
    patch = (255 * oblong).round().byte().expand(3, 5, 15, 15)
    laid = lay_patches(patch, points, STRIDE * matrix.expand(3, 2, 2), (CELLS, CELLS), STRIDE)
    at = (
        torch.stack(torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="xy"), -1) * STRIDE
        + 1.5
    )
    away = at - points[:, :, None, None]
    spread = torch.einsum("nkhw,nkhwi,nkhwj->nkij", laid, away, away) / laid.sum((-2, -1))[..., None, None]
    expected = STRIDE**2 * matrix @ torch.diag(torch.tensor([2.5**2, 1.0])) @ matrix.T
    torch.testing.assert_close(spread, expected.expand_as(spread), rtol=0.25, atol=6.0)
