"""Weights of few bits: how far off they are, what stays exact, and that the exact ones come back."""

import pytest
import torch

from tests.recipes.test_no_op_equivalences import assert_close, gradient
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.recipes.conformance.trial import POINTS, Trial
from tsal_dist.recipes.quantise import BUCKET, in_bits, rounded


@pytest.mark.parametrize(("bits", "off"), [(8, 0.0065), (4, 0.11), (2, 0.55)])
def test_gaussian_weights_are_off_by_what_is_known_of_it(bits, off):
    torch.manual_seed(0)
    weight = torch.randn(64, 32, 3, 3)
    error = (rounded(weight, bits) - weight).square().mean().sqrt() / weight.square().mean().sqrt()
    assert error == pytest.approx(off, rel=0.1)


@pytest.mark.parametrize("count", [1, 7, BUCKET, BUCKET + 1, 3 * BUCKET - 5])
def test_each_bucket_has_so_many_values_and_its_own_range(count):
    torch.manual_seed(1)
    weight = torch.randn(count, 1) * torch.arange(1, count + 1).unsqueeze(1)
    near = rounded(weight, 4)
    for part, exact in zip(near.split(BUCKET), weight.split(BUCKET), strict=True):
        assert len(part.unique()) <= 16
        torch.testing.assert_close(torch.stack(part.aminmax()), torch.stack(exact.aminmax()))


def test_rounding_again_changes_nothing():
    torch.manual_seed(2)
    once = rounded(torch.randn(40, 30), 8)
    torch.testing.assert_close(rounded(once, 8), once, rtol=0, atol=1e-6)


def test_weights_that_are_all_alike_stay():
    weight = torch.full((300, 2), 0.3)
    assert torch.equal(rounded(weight, 8), weight)


def test_the_first_layer_the_maps_and_what_is_no_matrix_stay_exact():
    torch.manual_seed(0)
    net = build_detector("lite", POINTS)
    exact = {name: value.clone() for name, value in net.named_parameters()}
    with in_bits(4, POINTS)(net):
        moved = {name for name, value in net.named_parameters() if not torch.equal(value, exact[name])}
    assert all(torch.equal(value, exact[name]) for name, value in net.named_parameters())
    stay = {name for name, value in exact.items() if value.dim() == 1}
    stay |= {next(iter(exact))} | {
        name for name in exact if name.endswith(("center.weight", "offset.weight"))
    }
    stay |= {name for name in exact if ".heat_" in name}
    assert moved == exact.keys() - stay


@pytest.mark.parametrize(("detector", "points"), [("lite", 24), ("lite", 31), ("hrnet_w18", 17)])
def test_a_hidden_layer_that_is_as_wide_as_an_output_is_rounded(detector, points):
    net = build_detector(detector, points)
    exact = {name: value.clone() for name, value in net.named_parameters()}
    with in_bits(4, points)(net):
        stay = {name for name, value in net.named_parameters() if torch.equal(value, exact[name])}
    matrices = [name for name in exact if exact[name].dim() > 1]
    maps = ("center.weight", "offset.weight", "heat.weight", "heat_1.weight", "heat_2.weight")
    assert {name for name in stay if name in matrices[1:]} == {
        name for name in matrices if name.endswith(maps)
    }


def test_exact_weights_come_back_after_an_error():
    net = build_detector("lite", POINTS)
    exact = [value.clone() for value in net.parameters()]
    with pytest.raises(RuntimeError, match="out of memory"), in_bits(8, POINTS)(net):
        raise RuntimeError("out of memory")
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), exact, strict=True))


def test_weights_in_parts_are_refused():
    net = torch.nn.Linear(3, 3)
    net.weight.ds_tensor = torch.zeros(1)  # as ZeRO stage 3 leaves it
    with pytest.raises(ConfigError, match="stage 0, 1 or 2"), in_bits(8, 3)(net):
        pass


def test_32_bits_and_all_of_the_teacher_are_feature_distillation_without_features():
    exact = Trial("quantized_distillation", {"bits": 32, "taught": 0.5})
    maps = Trial("feature_distillation", {"embedding": 0.0})
    theirs = {
        name.removeprefix("net."): value for name, value in gradient(maps).items() if name.startswith("net.")
    }
    assert_close(gradient(exact), theirs)
