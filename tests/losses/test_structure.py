import pytest
import torch

from tsal_dist.losses.structure import best_offsets, structure_loss


def test_is_the_mean_over_pairs():
    offset = torch.randn(3, 5, 7, 2, generator=torch.Generator().manual_seed(0))
    face = torch.tensor([2.0, 3.0, 4.0])
    expected = 0.0
    for clip in range(3):
        size = offset[clip].square().sum(-1).mean(-1) / face[clip] ** 2
        expected += sum((size[t] - size[u]) ** 2 for t in range(5) for u in range(t + 1, 5)) / 10
    term = structure_loss(offset, face)
    torch.testing.assert_close(term.total, expected)
    assert term.count == 3


def test_a_face_that_only_turns_costs_nothing():
    shape = torch.randn(1, 1, 9, 2, generator=torch.Generator().manual_seed(0))
    angle = torch.tensor([0.0, 0.4, 1.1])
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2
    )
    assert structure_loss(shape @ turn.unsqueeze(0), torch.ones(1)).total == pytest.approx(0, abs=1e-10)


def test_size_of_the_crop_does_not_matter():
    offset = torch.randn(2, 3, 4, 2)
    small = structure_loss(offset, torch.tensor([5.0, 6.0]))
    large = structure_loss(2 * offset, torch.tensor([10.0, 12.0]))
    torch.testing.assert_close(small.total, large.total)


def test_a_still_says_nothing_and_keeps_the_graph():
    offset = torch.randn(2, 1, 4, 2, requires_grad=True)
    term = structure_loss(offset, torch.ones(2))
    term.mean().backward()
    assert (term.total, term.count) == (0, 0)
    assert offset.grad.abs().max() == 0


def test_offsets_of_the_best_cell():
    center = torch.zeros(2, 1, 4, 6)
    center[0, 0, 2, 5] = center[1, 0, 3, 0] = 1
    offset = torch.randn(2, 8, 4, 6, requires_grad=True)
    best = best_offsets(center, offset)
    assert torch.equal(best[0], offset[0, :, 2, 5].view(4, 2))
    assert torch.equal(best[1], offset[1, :, 3, 0].view(4, 2))
    best.sum().backward()
    assert offset.grad.sum() == 16
