import pytest
import torch

from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.losses.supervised import center_loss, heatmap_loss, offset_loss
from tsal_dist.models.detectors import build_detector


def labels(frames=4, count=5, size=128, stride=4):
    points = torch.rand(frames, count, 2, generator=torch.Generator().manual_seed(0)) * size
    visible = torch.ones(frames, count, dtype=torch.bool)
    cells = (size // stride, size // stride)
    return (
        points,
        visible,
        encode_heatmap(points, visible, cells, stride, 6.0),
        encode_center(points, visible, cells, stride),
    )


@pytest.mark.parametrize(("name", "frames"), [("lite", 1), ("lite", 4), ("lite", 16), ("cpm_vgg16", 4)])
def test_focal_loss_at_the_start_whatever_the_batch(name, frames):
    torch.manual_seed(0)
    model = build_detector(name, 5)
    size = 32 * model.stride
    *_, target = labels(1, size=size, stride=model.stride)
    with torch.no_grad():
        out = model(torch.zeros(1, 3, size, size))
    repeated = type(target)(*(field.expand(frames, *field.shape[1:]) for field in target))
    term = center_loss(out.center_N1hw.expand(frames, -1, -1, -1), repeated)
    assert term.count == frames
    assert term.mean() == pytest.approx(2.9, abs=0.05)


def test_focal_loss_by_hand():
    target = encode_center(torch.tensor([[[6.0, 6.0]]]), torch.ones(1, 1), (2, 2), 4)
    p = torch.tensor([[0.2, 0.3], [0.4, 0.6]])
    assert target.cell_N2.tolist() == [[1, 1]]
    near, far = torch.tensor([1.0, 2.0]).div(-2 * 1.5**2).exp()
    expected = -(0.4**2) * torch.tensor(0.6).log()
    expected -= (1 - far) ** 4 * 0.2**2 * torch.tensor(0.8).log()
    expected -= (1 - near) ** 4 * (0.3**2 * torch.tensor(0.7).log() + 0.4**2 * torch.tensor(0.6).log())
    assert center_loss(p.logit().view(1, 1, 2, 2), target).total == pytest.approx(float(expected), rel=1e-4)


def test_heatmap_loss_by_hand():
    heat = torch.zeros(2, 1, 3, 4, 4)
    target = torch.ones(1, 3, 4, 4)
    term = heatmap_loss(heat, target, torch.tensor([[True, False]]), torch.tensor([True]))
    # Two stages, one visible point and the background, sixteen cells, halved.
    assert (term.total, term.count) == (2 * 2 * 16 / 2, 1)


def test_offset_loss_by_hand():
    points, visible = torch.tensor([[[6.0, 6.0], [14.0, 6.0]]]), torch.tensor([[True, False]])
    target = encode_center(points, visible, (4, 4), 4)
    offset = torch.zeros(1, 4, 4, 4)
    x, y = target.cell_N2[0].tolist()
    offset[0, :, y, x] = target.offset_NK2[0].flatten() + torch.tensor([0.5, 3.0, 99.0, 99.0])
    term = offset_loss(offset, target, visible)
    assert term.total == pytest.approx(0.125 + 2.5)
    assert term.count == 2


def test_perfect_outputs_cost_nothing():
    _, visible, heat, target = labels()
    assert heatmap_loss(heat[None], heat, visible, visible.any(1)).total == 0
    offset = target.offset_NK2.flatten(1)[:, :, None, None].expand(-1, -1, 32, 32)
    assert offset_loss(offset, target, visible).total == 0


def test_unlabelled_frames_add_nothing():
    points, visible, heat, target = labels()
    visible[2:] = False
    target = encode_center(points, visible, (32, 32), 4)
    generator = torch.Generator().manual_seed(5)
    outputs = [
        torch.randn(shape, generator=generator)
        for shape in ((2, 4, 6, 32, 32), (4, 1, 32, 32), (4, 10, 32, 32))
    ]
    labelled = visible.any(1)
    half = encode_center(points[:2], visible[:2], (32, 32), 4)
    pairs = [
        (
            heatmap_loss(outputs[0], heat, visible, labelled),
            heatmap_loss(outputs[0][:, :2], heat[:2], visible[:2], labelled[:2]),
        ),
        (center_loss(outputs[1], target), center_loss(outputs[1][:2], half)),
        (offset_loss(outputs[2], target, visible), offset_loss(outputs[2][:2], half, visible[:2])),
    ]
    for mixed, alone in pairs:
        assert mixed.total == pytest.approx(float(alone.total), rel=1e-5)
        assert mixed.count == alone.count


def test_a_batch_without_labels_is_zero_and_finite():
    points, _, heat, _ = labels()
    hidden = torch.zeros(4, 5, dtype=torch.bool)
    target = encode_center(points, hidden, (32, 32), 4)
    outputs = [
        torch.randn(shape).requires_grad_() for shape in ((2, 4, 6, 32, 32), (4, 1, 32, 32), (4, 10, 32, 32))
    ]
    terms = [
        heatmap_loss(outputs[0], heat, hidden, hidden.any(1)),
        center_loss(outputs[1], target),
        offset_loss(outputs[2], target, hidden),
    ]
    sum(term.mean() for term in terms).backward()
    for term, output in zip(terms, outputs, strict=True):
        assert term.mean() == 0
        assert output.grad.isfinite().all()
        assert output.grad.abs().max() == 0


def test_saturated_logits_stay_finite():
    *_, target = labels()
    logits = torch.full((4, 1, 32, 32), 1e4).requires_grad_()
    center_loss(logits, target).mean().backward()
    assert logits.grad.isfinite().all()
