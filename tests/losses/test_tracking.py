import cv2
import numpy as np
import pytest
import torch

from tsal_dist.geometry.warp import warp
from tsal_dist.losses.tracking import census_loss, smoothness_loss
from tsal_dist.trackers.pwc import PwcTracker


def picture(size=96):
    noise = np.random.default_rng(0).random((size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return torch.from_numpy(smooth).permute(2, 0, 1)[None]


def test_the_true_flow_is_cheapest():
    whole = picture()
    a, b = whole[..., 8:72, 8:72], whole[..., 8:72, 5:69]  # b's content is 3 px to the right of a's

    def cost(x):
        flow = torch.zeros(1, 2, 64, 64)
        flow[:, 0] = x
        rebuilt, valid = warp(b, flow)
        return float(census_loss(a, rebuilt, valid).mean())

    costs = {x: cost(x) for x in (0.0, 2.0, 2.5, 3.0, 3.5, 4.0)}
    assert min(costs, key=costs.get) == 3.0
    assert costs[3.0] < 0.1 * costs[2.5]


def test_exposure_hardly_matters():
    a = picture()
    valid = torch.ones(1, 1, 96, 96)
    brighter = census_loss(a, (a * 0.9 + 0.05), valid).mean()
    moved = census_loss(a, a.roll(2, -1), valid).mean()
    assert brighter < 0.1 * moved


def test_only_valid_pixels_away_from_the_border_count():
    a = picture(16)
    valid = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    valid[..., :8] = False
    term = census_loss(a, a.flip(-1), valid)
    assert term.count == 10 * 5
    assert census_loss(a, a.flip(-1), torch.zeros(1, 1, 16, 16)).mean() == 0


def test_smoothness_by_hand():
    flow = torch.zeros(1, 2, 4, 4)
    flow[0, 0, :, 2:] = 3.0
    gray = torch.zeros(1, 3, 4, 4)
    assert smoothness_loss(flow, gray).total == 4 * 3 / 2
    assert smoothness_loss(flow, gray).count == 16
    edge = gray.clone()
    edge[..., 2:] = 1.0
    assert smoothness_loss(flow, edge).total == pytest.approx(6 * np.exp(-10))


@pytest.mark.slow
def test_a_flow_network_learns_to_follow():
    """From nothing, on one pair: the census loss alone finds the motion."""
    torch.manual_seed(0)
    whole = picture()
    a, b = whole[..., 8:72, 8:72], whole[..., 8:72, 5:69]
    raw_a, raw_b = ((255 * each).byte().permute(0, 2, 3, 1) for each in (a, b))
    tracker = PwcTracker()
    optimizer = torch.optim.AdamW(tracker.parameters(), lr=1e-3)
    for _ in range(45):
        flow = tracker(raw_a, raw_b)
        loss = torch.zeros(())
        for here, there, way in ((a, b, flow.forward_N2HW), (b, a, flow.backward_N2HW)):
            rebuilt, valid = warp(there, way)
            loss = loss + census_loss(here, rebuilt, valid).mean() + 0.05 * smoothness_loss(way, here).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = (flow.forward_N2HW - torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)).norm(dim=1)
    assert error[..., 8:-8, 8:-8].mean() < 1
