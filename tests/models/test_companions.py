"""Relations between points: found by few labels where they are, never where they are not; and what they are good for."""

import numpy as np
import pytest
import torch

from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.models.companions import Companions, agree, learn_companions

SIGMA_PX, SIZE_PX, STRIDE = 4.0, 96, 4


def mirrored_pair(count, seed=0, noise_px=0.5):
    """Point 1 has the x of point 0, at a place of its own in y; points 2 and 3 go where they like."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(16, 80, (count, 4, 2))
    points[:, 1, 0] = points[:, 0, 0] + rng.normal(0, noise_px, count)
    return points


def found(known: Companions):
    return {
        (point, axis, by, by_axis)
        for point, axis, by, by_axis in zip(
            *(each.tolist() for each in (known.point_R, known.axis_R, known.by_R, known.by_axis_R)),
            strict=True,
        )
    }


@pytest.mark.parametrize("seed", range(5))
def test_ten_labels_show_the_relation_that_is_there_and_no_other(seed):
    known = learn_companions(mirrored_pair(10, seed), np.ones((10, 4), bool), SIGMA_PX)
    assert found(known) == {(1, 0, 0, 0), (0, 0, 1, 0)}
    assert known.deviation_R.max() < 1.5
    torch.testing.assert_close(known.slope_R, torch.ones(2), rtol=0, atol=0.2)


def test_too_few_labels_or_points_that_hardly_move_show_nothing():
    assert found(learn_companions(mirrored_pair(4), np.ones((4, 4), bool), SIGMA_PX)) == set()
    still = np.tile(mirrored_pair(1), (10, 1, 1)) + np.random.default_rng(0).normal(0, 1, (10, 4, 2))
    assert found(learn_companions(still, np.ones((10, 4), bool), SIGMA_PX)) == set()


def test_a_point_that_is_not_there_is_left_out():
    placed = np.ones((12, 4), bool)
    placed[::3, 2] = False
    points = mirrored_pair(12)
    points[~placed] = np.nan
    known = learn_companions(points, placed, SIGMA_PX)
    assert found(known) == {(1, 0, 0, 0), (0, 0, 1, 0)}


def test_a_wrong_peak_that_is_higher_gives_way_to_the_one_that_fits():
    """The net is surer of the wrong leg; its companion knows better."""
    known = learn_companions(mirrored_pair(12), np.ones((12, 4), bool), SIGMA_PX)
    truth = torch.tensor(mirrored_pair(3, seed=9), dtype=torch.float32)
    wrong = truth.clone()
    wrong[:, 1, 0] = 96 - truth[:, 1, 0]
    assert ((wrong - truth).norm(dim=-1)[:, 1] > 2 * SIGMA_PX).all()
    cells = (SIZE_PX // STRIDE,) * 2
    heat = encode_heatmap(truth, torch.ones(3, 4), cells, STRIDE, SIGMA_PX)[:, :4]
    heat[:, 1] *= 0.5
    heat[:, 1] += 0.7 * encode_heatmap(wrong, torch.ones(3, 4), cells, STRIDE, SIGMA_PX)[:, 1]
    fitting = agree(heat, known, STRIDE, 4, SIGMA_PX)
    assert ((fitting.points_NK2 - truth).norm(dim=-1) < 2.5).all()
    assert (fitting.misfit_NK < 2).all()
    assert (fitting.score_NK[:, 1] < 0.6).all(), "the height is that of the peak which was chosen"


def test_where_no_peak_fits_the_misfit_says_so():
    known = learn_companions(mirrored_pair(12), np.ones((12, 4), bool), SIGMA_PX)
    shown = torch.tensor(mirrored_pair(3, seed=9), dtype=torch.float32)
    shown[:, 1, 0] = 96 - shown[:, 1, 0]
    cells = (SIZE_PX // STRIDE,) * 2
    heat = encode_heatmap(shown, torch.ones(3, 4), cells, STRIDE, SIGMA_PX)[:, :4]
    misfit = agree(heat, known, STRIDE, 4, SIGMA_PX).misfit_NK
    assert (misfit[:, :2] > 2).all()
    assert (misfit[:, 2:] == 0).all()


def test_without_relations_every_point_is_its_maps_peak():
    nothing = learn_companions(np.zeros((0, 4, 2)), np.ones((0, 4), bool), SIGMA_PX)
    heat = torch.rand(2, 4, 24, 24)
    points, score = decode_heatmap(heat, STRIDE, 4, squared=True)
    plain = agree(heat, nothing, STRIDE, 4, SIGMA_PX)
    assert torch.equal(plain.points_NK2, points)
    assert torch.equal(plain.score_NK, score)


def test_a_point_that_fits_well_enough_stays_where_its_map_is_highest():
    """A relation is right to within its deviation: it tells a wrong leg, and no pixels."""
    known = learn_companions(mirrored_pair(12), np.ones((12, 4), bool), SIGMA_PX)
    off_px = 1.5 * float((known.deviation_R.square() + (SIGMA_PX / 4) ** 2).sqrt().min())
    shown = torch.tensor(mirrored_pair(3, seed=9, noise_px=0.0), dtype=torch.float32)
    other = shown.clone()  # a lower peak fits to the pixel, elsewhere
    other[:, 1, 1] = 96 - shown[:, 1, 1]
    shown[:, 1, 0] += off_px
    cells = (SIZE_PX // STRIDE,) * 2
    heat = encode_heatmap(shown, torch.ones(3, 4), cells, STRIDE, SIGMA_PX)[:, :4]
    heat[:, 1] = torch.maximum(
        heat[:, 1], 0.95 * encode_heatmap(other, torch.ones(3, 4), cells, STRIDE, SIGMA_PX)[:, 1]
    )
    points, score = decode_heatmap(heat, STRIDE, 4, squared=True)
    fitting = agree(heat, known, STRIDE, 4, SIGMA_PX)
    assert torch.equal(fitting.points_NK2, points)
    assert torch.equal(fitting.score_NK, score)
    assert (fitting.misfit_NK[:, 1] > 0.3).all()
