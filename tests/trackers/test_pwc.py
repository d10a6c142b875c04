import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tsal_dist.trackers.pwc import PwcTracker, _correlate


@pytest.fixture(scope="module")
def tracker():
    torch.manual_seed(0)
    return PwcTracker()


def frames(size=64, count=2):
    raw = torch.randint(0, 256, (2 * count, size, size, 3), generator=torch.Generator().manual_seed(3))
    return raw.to(torch.uint8).chunk(2)


def test_size(tracker):
    assert sum(parameter.numel() for parameter in tracker.parameters()) == 1_677_140


@pytest.mark.parametrize("size", [64, 96])
def test_shapes(tracker, size):
    flow = tracker(*frames(size))
    assert flow.forward_N2HW.shape == flow.backward_N2HW.shape == (2, 2, size, size)
    assert flow.error_N1HW.shape == flow.valid_N1HW.shape == (2, 1, size, size)
    assert flow.valid_N1HW.dtype == torch.bool


def test_backward_is_forward_of_the_swapped_pair(tracker):
    a, b = frames()
    torch.testing.assert_close(tracker(a, b).backward_N2HW, tracker(b, a).forward_N2HW)


def test_every_parameter_gets_a_gradient(tracker):
    tracker.zero_grad()
    tracker(*frames()).forward_N2HW.square().sum().backward()
    assert [name for name, parameter in tracker.named_parameters() if parameter.grad is None] == []


@pytest.mark.slow
def test_compiles_as_one_graph(tracker):
    a, b = frames()
    with torch.no_grad():
        compiled = torch.compile(tracker, backend="eager", fullgraph=True)(a, b)
        torch.testing.assert_close(compiled.forward_N2HW, tracker(a, b).forward_N2HW)


def test_bfloat16_autocast_keeps_coordinates_in_float32(tracker):
    a, b = frames()
    with torch.no_grad():
        full = tracker(a, b)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = tracker(a, b)
    assert half.forward_N2HW.dtype == torch.float32
    torch.testing.assert_close(half.forward_N2HW, full.forward_N2HW, atol=0.05, rtol=0.1)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that anything makes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor) and not one._is_view():
                self.bytes = max(self.bytes, one.nbytes)
        return out


def test_the_correlation_holds_one_product_at_a_time():
    """All 81 neighbours at once were 85 MB for a pair of 256 px, there and back."""
    here, met = torch.randn(2, 2, 32, 64, 64)
    with Largest() as largest:
        cost = _correlate(here, met)
    assert largest.bytes == cost.nbytes == 2 * 81 * 64 * 64 * 4
    unfolded = F.unfold(F.normalize(met, dim=1), 9, padding=4).view(2, 32, 81, 64, 64)
    torch.testing.assert_close(cost, (F.normalize(here, dim=1).unsqueeze(2) * unfolded).sum(1))
