"""Boxes to maps and back: `geometry.boxes`."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.geometry.boxes import MAPS, BoxTarget, decode_boxes, encode_boxes
from tsal_dist.losses.boxes import box_loss, generalized_iou

STRIDE, CELLS = 4, (24, 32)


def perfect_maps(target: BoxTarget) -> torch.Tensor:
    """What a net that knows the targets would say."""
    maps_N5hw = torch.zeros(len(target.middle_N1hw), MAPS, *CELLS)
    maps_N5hw[:, :1] = torch.logit(target.middle_N1hw.clamp(1e-6, 1 - 1e-6))
    low_N2hw, high_N2hw = target.corner_N4hw[:, :2], target.corner_N4hw[:, 2:]
    maps_N5hw[:, 1:3] = (low_N2hw + high_N2hw) / 2
    unit_2 = torch.tensor([CELLS[1], CELLS[0]]).view(2, 1, 1) / 4
    sides_N2hw = torch.where(target.taught_N1hw, high_N2hw - low_N2hw, unit_2)
    maps_N5hw[:, 3:] = torch.log(sides_N2hw / unit_2)
    return maps_N5hw


def found_in(maps_N5hw: torch.Tensor) -> list[np.ndarray]:
    boxes_NC4, score_NC = decode_boxes(maps_N5hw, STRIDE)
    return [boxes_C4[score_C > 0.5].numpy() for boxes_C4, score_C in zip(boxes_NC4, score_NC, strict=True)]


BOX = st.tuples(
    st.floats(6, 120), st.floats(6, 88), st.floats(3, 60), st.floats(3, 60)
)  # middle and sides, in a square of 128 x 96


@given(BOX)
def test_a_box_comes_back_from_its_maps(box):
    x, y, width, height = box
    box_14 = torch.tensor([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    (found_M4,) = found_in(perfect_maps(encode_boxes([box_14], CELLS, STRIDE)))
    np.testing.assert_allclose(found_M4, box_14.numpy(), atol=0.01)


def test_several_boxes_of_several_frames_come_back_each_in_its_own():
    boxes = [
        torch.tensor([[4.0, 6, 24, 40], [60, 10, 110, 80], [70, 82, 76, 90]]),
        torch.empty(0, 4),
        torch.tensor([[-8.0, 30, 10, 60]]),
    ]
    target = encode_boxes(boxes, CELLS, STRIDE)
    assert (target.middle_N1hw == 1).sum((1, 2, 3)).tolist() == [3, 0, 1]
    assert not target.taught_N1hw[1].any()
    for found_M4, true_B4 in zip(found_in(perfect_maps(target)), boxes, strict=True):
        order = np.lexsort(found_M4.T)
        np.testing.assert_allclose(found_M4[order], true_B4.numpy()[np.lexsort(true_B4.numpy().T)], atol=0.01)


def test_of_boxes_that_share_cells_the_smaller_has_them():
    large_4, small_4 = [20.0, 20, 90, 80], [50.0, 44, 60, 56]
    for order in ([large_4, small_4], [small_4, large_4]):
        target = encode_boxes([torch.tensor(order)], CELLS, STRIDE)
        cell = target.corner_N4hw[0, :, 12, 13]
        assert float(cell[2] - cell[0]) == pytest.approx(2.5), "ten pixels are two cells and a half"


def test_a_larger_subject_has_a_wider_bump():
    small, large = (
        encode_boxes([torch.tensor([[64.0 - half, 48 - half, 64 + half, 48 + half]])], CELLS, STRIDE)
        for half in (4, 40)
    )
    assert large.middle_N1hw.sum() > 2 * small.middle_N1hw.sum()


def test_what_is_told_right_costs_next_to_nothing_and_each_error_costs():
    boxes = [torch.tensor([[20.0, 20, 60, 50]]), torch.empty(0, 4)]
    target = encode_boxes(boxes, CELLS, STRIDE)
    right = perfect_maps(target)
    least = float(box_loss(right, target))
    silent, alarm, moved, large = (right.clone() for _ in range(4))
    silent[0, 0] = -9
    alarm[1, 0, 5, 5] = 9  # in the frame that has no subject
    moved[0, 1] += 4
    large[0, 3:] += 0.5
    for wrong in (silent, alarm, moved, large):
        assert float(box_loss(wrong, target)) > least + 0.2


def test_generalized_iou_by_hand():
    unit_14 = torch.tensor([[0.0, 0, 1, 1]])
    for other, value in (
        ([0.0, 0, 1, 1], 1.0),
        ([0.5, 0, 1.5, 1], 1 / 3),
        ([2.0, 0, 3, 1], -1 / 3),  # apart: a third of what is around both lies between them
    ):
        assert float(generalized_iou(unit_14, torch.tensor([other]))) == pytest.approx(value)
