import pytest
import torch

from tsal_dist.geometry.center import decode_center, encode_center, offsets_at, points_from_offsets
from tsal_dist.geometry.heatmap import encode_heatmap


def make_points(frames=3, count=5, size=64.0):
    return torch.rand(frames, count, 2, generator=torch.Generator().manual_seed(1)) * size


@pytest.mark.parametrize("stride", [4, 8])
def test_pixels_to_center_and_offsets_and_back_is_exact(stride):
    points = make_points()
    target = encode_center(points, torch.ones(3, 5), (64 // stride, 64 // stride), stride)
    back = points_from_offsets(target.cell_N2.unsqueeze(1), target.offset_NK2.unsqueeze(1), stride)
    torch.testing.assert_close(back[:, 0], points, atol=1e-5, rtol=0)


def test_center_is_the_rounded_centroid_of_what_is_visible():
    points = torch.tensor([[[10.0, 20.0], [30.0, 40.0], [999.0, 999.0]]])
    target = encode_center(points, torch.tensor([[True, True, False]]), (16, 16), 4)
    # Centroid (20, 30) px is cell (4.625, 7.125); column before row.
    assert target.cell_N2.tolist() == [[5, 7]]
    assert target.center_N1hw[0, 0, 7, 5] == 1
    assert (target.center_N1hw == 1).sum() == 1
    assert target.center_N1hw[0, 0, 7, 6] == pytest.approx(2.718281828 ** (-1 / 4.5))
    assert target.offset_NK2[0, 2].tolist() == [0, 0]


def test_unlabelled_frame_has_no_positive():
    target = encode_center(make_points(), torch.zeros(3, 5), (16, 16), 4)
    assert target.center_N1hw.abs().max() == 0
    assert target.offset_NK2.abs().max() == 0
    assert not target.has_center_N.any()


def test_center_outside_the_crop_is_clipped_to_it():
    target = encode_center(torch.full((1, 2, 2), 500.0), torch.ones(1, 2), (16, 12), 4)
    assert target.cell_N2.tolist() == [[11, 15]]


def test_landmark_targets_are_untouched_by_the_center_target():
    points, visible = make_points(), torch.ones(3, 5)
    heat = encode_heatmap(points, visible, (16, 16), 4, 4.0)
    before = heat.clone()
    encode_center(points, visible, (16, 16), 4)
    assert torch.equal(heat, before)


def test_decode_finds_the_encoded_face_first():
    points = make_points(frames=2)
    target = encode_center(points, torch.ones(2, 5), (16, 16), 4)
    offset = torch.zeros(2, 10, 16, 16)
    for frame, (x, y) in enumerate(target.cell_N2.tolist()):
        offset[frame, :, y, x] = target.offset_NK2[frame].flatten()
    logits = torch.logit(target.center_N1hw.clamp(1e-4, 1 - 1e-4))
    candidates, score = decode_center(logits, offset, 4)
    assert candidates.shape == (2, 32, 5, 2)
    torch.testing.assert_close(candidates[:, 0], points, atol=1e-4, rtol=0)
    assert (score[:, 0] > 0.99).all()
    assert (score[:, 1:] < 0.01).all()


def test_offsets_are_read_column_before_row():
    offset = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    read = offsets_at(offset, torch.tensor([[[5, 1]]]))
    assert read[0, 0, 0].tolist() == [offset[0, 0, 1, 5], offset[0, 1, 1, 5]]


def test_small_maps_give_fewer_candidates():
    candidates, score = decode_center(torch.zeros(1, 1, 3, 3), torch.zeros(1, 4, 3, 3), 8)
    assert candidates.shape == (1, 9, 2, 2)
    assert score.shape == (1, 9)
