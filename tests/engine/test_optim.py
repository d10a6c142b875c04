"""Every parameter that learns is in one group; the rate is a pure function of the step."""

import pytest
import torch
from torch import nn

from tsal_dist.config.train import OptimConfig
from tsal_dist.engine.optim import (
    build_optimizer,
    build_param_groups,
    check_names,
    learning_rate,
    read_optimizer,
    write_optimizer,
)
from tsal_dist.errors import CheckpointError


def build_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def test_every_learning_parameter_is_in_exactly_one_group():
    net = build_net()
    net[0].bias.requires_grad_(False)
    grouped = [p for group in build_param_groups(net, 0.1) for p in group["params"]]
    assert len(grouped) == len(set(map(id, grouped)))
    assert set(map(id, grouped)) == {id(p) for p in net.parameters() if p.requires_grad}


def test_only_matrices_and_filters_decay():
    net = build_net()
    decay, free = build_param_groups(net, 0.1)
    assert (decay["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in decay["params"]} == {id(net[0].weight), id(net[4].weight)}


def test_a_shared_parameter_counts_once():
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    (decay, _) = build_param_groups(net, 0.1)
    assert len(decay["params"]) == 1


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_parameter_moves_after_one_step(name):
    net = build_net()
    optimizer = build_optimizer(net, OptimConfig(name=name, lr=0.1))
    before = [p.detach().clone() for p in net.parameters()]
    (net(torch.randn(4, 3, 4, 4)) ** 2).sum().backward()
    optimizer.step()
    still = [n for (n, p), old in zip(net.named_parameters(), before, strict=True) if torch.equal(p, old)]
    # A convolution's bias in front of a batch norm has no gradient but rounding.
    assert set(still) <= {"0.bias"}


def rates(total=100, **settings):
    optim = OptimConfig(lr=1.0, **{"warmup_steps": 10, **settings})
    return [learning_rate(step, total, optim) for step in range(total + 5)]


def test_the_warm_up_is_a_line_to_the_peak():
    assert rates()[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])


def test_cosine_falls_from_the_peak_to_its_final_share():
    curve = rates(final_share=0.02)
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.51)
    assert curve[100] == curve[104] == pytest.approx(0.02)
    assert all(later <= earlier for earlier, later in zip(curve[10:], curve[11:], strict=False))


def test_steps_multiply_at_their_milestones():
    curve = rates(schedule="step", milestones=(0.5, 0.9), gamma=0.1, warmup_steps=0)
    assert (curve[0], curve[49]) == (1.0, 1.0)
    assert (curve[50], curve[89]) == pytest.approx((0.1, 0.1))
    assert curve[90] == pytest.approx(0.01)


def test_constant_is_constant():
    assert set(rates(schedule="constant", warmup_steps=0)) == {1.0}


def test_a_warm_up_longer_than_the_run_is_finite():
    assert rates(total=5, warmup_steps=10)[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_optimiser_state_survives_by_name(name):
    def step(net, optimizer):
        (net(torch.ones(2, 3, 4, 4)) ** 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    torch.manual_seed(0)
    first, second = build_net(), build_net()
    optim = OptimConfig(name=name)
    one, two = build_optimizer(first, optim), build_optimizer(second, optim)
    step(first, one)
    second.load_state_dict(first.state_dict())
    write_optimizer(two, second, read_optimizer(one, first))
    step(first, one)
    step(second, two)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_foreign_weights_are_described():
    ours = {"a": torch.zeros(2, 3), "b": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"b is missing; c is unknown here; a is \(3, 2\)"):
        check_names(ours, {"a": torch.zeros(3, 2), "c": torch.zeros(1)}, "weights file")
    check_names(ours, dict(ours), "weights file")
