import threading

import cv2
import numpy as np
import pytest
import torch

from tsal_dist.errors import ConfigError
from tsal_dist.geometry import affine
from tsal_dist.trackers.carry import carry_points
from tsal_dist.trackers.choose import build_tracker
from tsal_dist.trackers.flow import Flow
from tsal_dist.trackers.gray import GrayFlow


def texture(seed=0, size=320):
    noise = np.random.default_rng(seed).random((size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.uint8(255 * (smooth - smooth.min()) / (smooth.max() - smooth.min()))


def pair(size=96, shift=(2.5, -1.5), degrees=3.0, zoom=1.02):
    """Two views of one picture, and the matrix that takes the first's pixels to the second's."""
    picture = texture()
    box = (160 - size / 2, 160 - size / 2, 160 + size / 2, 160 + size / 2)
    first = affine.crop(box, size, expand=0.0)
    second = affine.crop(box, size, expand=0.0, shift_px=shift, degrees=degrees, zoom=zoom)
    views = [
        torch.from_numpy(cv2.warpAffine(picture, there, (size, size)))[None] for there in (first, second)
    ]
    return views, affine.chain(affine.invert(first), second)


def true_flow(there, size=96):
    y, x = np.mgrid[:size, :size]
    pixels = np.stack([x, y], axis=-1).reshape(-1, 2)
    moved = affine.apply(there, pixels) - pixels
    return torch.from_numpy(moved.reshape(size, size, 2)).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(("kind", "worst_px"), [("dis", 0.15), ("lk", 0.3)])
def test_flow_of_a_known_motion(kind, worst_px):
    (a, b), there = pair()
    flow = build_tracker(kind)(a, b)
    inside = (..., slice(12, -12), slice(12, -12))
    assert (flow.forward_N2HW - true_flow(there))[inside].norm(dim=1).mean() < worst_px
    assert (flow.backward_N2HW - true_flow(affine.invert(there)))[inside].norm(dim=1).mean() < worst_px
    assert flow.error_N1HW[inside].mean() < 0.3
    assert flow.valid_N1HW[inside].float().mean() > 0.95


@pytest.mark.parametrize("kind", ["dis", "lk", "pwc"])
def test_standing_pictures_do_not_move(kind):
    torch.manual_seed(0)
    (a, _), _ = pair()
    flow = build_tracker(kind)(a, a)
    assert flow.forward_N2HW.abs().mean() < 0.1
    assert flow.valid_N1HW.float().mean() > 0.95


@pytest.mark.parametrize("kind", ["dis", "lk"])
def test_pairs_of_a_batch_are_strangers(kind):
    (a, b), _ = pair()
    tracker = build_tracker(kind)
    together = tracker(torch.cat([a, b, a]), torch.cat([b, b, b]))
    alone = tracker(a, b)
    torch.testing.assert_close(together.forward_N2HW[2:], alone.forward_N2HW)
    torch.testing.assert_close(together.forward_N2HW[:1], alone.forward_N2HW)


@pytest.mark.parametrize("kind", ["dis", "lk"])
def test_another_picture_cannot_be_followed(kind):
    (a, _), _ = pair()
    other = torch.from_numpy(texture(seed=9)[:96, :96])[None]
    assert build_tracker(kind)(a, other).valid_N1HW.float().mean() < 0.5


def test_lost_windows_are_not_standing_ones():
    flat = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    flow = build_tracker("lk")(flat, flat)
    assert not flow.valid_N1HW.any()


def test_points_move_with_the_flow():
    (a, b), there = pair()
    points = torch.tensor([[[30.0, 40.0], [60.0, 50.0], [48.0, 70.0]]])
    carried = carry_points(build_tracker("dis")(a, b), points, max_error_px=1.5, max_move_px=15)
    expected = torch.from_numpy(affine.apply(there, points.numpy())).float()
    torch.testing.assert_close(carried.points_NK2, expected, atol=0.3, rtol=0)
    assert carried.valid_NK.all()


@pytest.mark.parametrize(
    ("forward", "backward", "point", "valid"),
    [
        ((3.0, 0.0), (-3.0, 0.0), (20.0, 20.0), True),
        ((3.0, 0.0), (-1.0, 0.0), (20.0, 20.0), False),  # the way back disagrees
        ((9.0, 0.0), (-9.0, 0.0), (20.0, 20.0), False),  # too far for one frame
        ((3.0, 0.0), (-3.0, 0.0), (38.0, 20.0), False),  # out of the frame
        ((0.0, -3.0), (0.0, 3.0), (20.0, 1.0), False),
    ],
)
def test_what_makes_a_carried_point_valid(forward, backward, point, valid):
    planes = [torch.tensor(each).view(1, 2, 1, 1).expand(1, 2, 40, 40) for each in (forward, backward)]
    carried = carry_points(Flow(*planes), torch.tensor([[point]]), max_error_px=1.5, max_move_px=6)
    assert carried.valid_NK.item() is valid


def test_reverse_is_the_pair_seen_from_b():
    (a, b), _ = pair()
    tracker = build_tracker("dis")
    here, there = tracker(a, b).reverse, tracker(b, a)
    torch.testing.assert_close(here.forward_N2HW, there.forward_N2HW)
    torch.testing.assert_close(here.error_N1HW, there.error_N1HW)


def test_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="dis, lk, pwc"):
        build_tracker("raft")


@pytest.mark.parametrize("kind", ["dis", "lk"])
def test_threads_change_nothing_but_the_time(kind):
    views = [pair(shift=(x, 1.0))[0] for x in (1.0, 2.0, 3.0)]
    a, b = (torch.cat([view[which] for view in views]) for which in (0, 1))
    one, three = (build_tracker(kind, threads)(a, b) for threads in (1, 3))
    assert torch.equal(one.forward_N2HW, three.forward_N2HW)
    assert torch.equal(one.backward_N2HW, three.backward_N2HW)


def test_a_flow_that_was_begun_goes_on_beside_the_thread_that_began_it():
    (a, b), _ = pair()
    seen = []
    tracker = GrayFlow(
        lambda: lambda *_: seen.append(threading.current_thread()) or np.zeros((96, 96, 2), np.float32)
    )
    finish = tracker.begin(a, b)
    assert finish().forward_N2HW.shape == (1, 2, 96, 96)
    assert len(seen) == 2
    assert threading.main_thread() not in seen
