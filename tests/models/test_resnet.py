"""The trunk against the same net written out in plain operations on the names of published files."""

import pytest
import torch
from torch.nn import functional as F

from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.pretrained import load_pretrained
from tsal_dist.models.resnet import NORM_EPSILON, ResNet, from_published

COUNTS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
DEEP = {"resnet18": False, "resnet50": True}


def publish(name):
    """Random weights under torchvision's names, norms with statistics of their own."""
    draw = torch.Generator().manual_seed(3)
    content = {}

    def conv(place, norm, inner, outer, kernel):
        spread = (2 / (inner * kernel * kernel)) ** 0.5
        content[f"{place}.weight"] = torch.randn(outer, inner, kernel, kernel, generator=draw) * spread
        content[f"{norm}.weight"] = torch.rand(outer, generator=draw) * 0.5 + 0.25
        content[f"{norm}.bias"] = torch.randn(outer, generator=draw) * 0.1
        content[f"{norm}.running_mean"] = torch.randn(outer, generator=draw) * 0.1
        content[f"{norm}.running_var"] = torch.rand(outer, generator=draw) + 0.5
        content[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", "bn1", 3, 64, 7)
    inner = 64
    for stage, (working, count) in enumerate(zip((64, 128, 256, 512), COUNTS[name], strict=True), 1):
        outer = working * 4 if DEEP[name] else working
        for index in range(count):
            block = f"layer{stage}.{index}"
            if DEEP[name]:
                shapes = [(inner, working, 1), (working, working, 3), (working, outer, 1)]
            else:
                shapes = [(inner, working, 3), (working, working, 3)]
            for number, shape in enumerate(shapes, 1):
                conv(f"{block}.conv{number}", f"{block}.bn{number}", *shape)
            if inner != outer or (stage > 1 and index == 0):
                conv(f"{block}.downsample.0", f"{block}.downsample.1", inner, outer, 1)
            inner = outer
    return content | {"fc.weight": torch.zeros(10, inner), "fc.bias": torch.zeros(10)}


def slow_levels(content, name, image):
    """The published forward pass, from the tensors alone."""

    def conv(x, place, norm, stride, padding):
        x = F.conv2d(x, content[f"{place}.weight"], None, stride, padding)
        statistics = (content[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics, False, 0.0, NORM_EPSILON)

    x = F.max_pool2d(F.relu(conv(image, "conv1", "bn1", 2, 3)), 3, 2, 1)
    levels = []
    for stage, count in enumerate(COUNTS[name], 1):
        for index in range(count):
            block, stride = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1
            if DEEP[name]:
                y = F.relu(conv(x, f"{block}.conv1", f"{block}.bn1", 1, 0))
                y = F.relu(conv(y, f"{block}.conv2", f"{block}.bn2", stride, 1))
                y = conv(y, f"{block}.conv3", f"{block}.bn3", 1, 0)
            else:
                y = F.relu(conv(x, f"{block}.conv1", f"{block}.bn1", stride, 1))
                y = conv(y, f"{block}.conv2", f"{block}.bn2", 1, 1)
            if f"{block}.downsample.0.weight" in content:
                x = conv(x, f"{block}.downsample.0", f"{block}.downsample.1", stride, 0)
            x = F.relu(x + y)
        levels.append(x)
    return levels


@pytest.mark.parametrize("name", COUNTS)
def test_a_published_file_gives_the_published_features(tmp_path, name):
    content = publish(name)
    torch.save(content, tmp_path / "w.pth")
    model = build_detector(name, 5)
    report = load_pretrained(model, tmp_path / "w.pth", model.trunk, from_published)
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    assert not [key for key in report.fresh if key.startswith("encoder.")]
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        got, expected = model.encoder(image), slow_levels(content, name, image)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3 * float(other.std()), rtol=1e-3)


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("resnet50", 25_557_032)])
def test_trunk_and_classifier_have_the_published_size(name, parameters):
    trunk = ResNet(COUNTS[name], deep=DEEP[name])
    ours = sum(parameter.numel() for parameter in trunk.parameters()) + sum(
        b.numel() for b in trunk.buffers()
    )
    assert ours + 1000 * trunk.channels[-1] + 1000 == parameters


def test_another_depth_is_refused(tmp_path):
    torch.save(publish("resnet18"), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="does not fit this detector's trunk"):
        build_detector("resnet50", 5, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", COUNTS)
def test_it_may_start_from_random(name):
    """Features stay in reach of the heads: what a block adds begins small."""
    torch.manual_seed(0)
    model = build_detector(name, 5)
    with torch.no_grad():
        levels = model.encoder(torch.randn(1, 3, 64, 64))
        out = model(torch.randn(1, 3, 64, 64))
    assert all(0.05 < level.std() < 20 for level in levels)
    assert out.heat_SNKhw[:, :, :-1].abs().max() < 0.1


def test_training_moves_every_weight_and_no_norm():
    torch.manual_seed(0)
    model = build_detector("resnet18", 5).train()
    sum(part.square().mean() for part in model(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    learnt = {name for name, _ in model.named_parameters()}
    assert not [name for name in learnt if name.endswith((".scale", ".shift"))]
