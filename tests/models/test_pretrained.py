import pytest
import torch
from safetensors.torch import save_file

from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.pretrained import load_pretrained


@pytest.fixture(scope="module")
def other():
    torch.manual_seed(7)
    return build_detector("lite", 5)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("envelope", [None, "state_dict"])
def test_torch_file_fills_the_model(tmp_path, other, prefix, envelope):
    content = {prefix + name: tensor for name, tensor in other.state_dict().items()}
    torch.save({envelope: content} if envelope else content, tmp_path / "w.pth")
    model = build_detector("lite", 5, str(tmp_path / "w.pth"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_heads_of_another_layout_stay_fresh_and_are_named(tmp_path, other):
    save_file(other.state_dict() | {"classifier.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    model = build_detector("lite", 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_pretrained(model, tmp_path / "w.safetensors", model.trunk)
    assert set(report.fresh) == {
        "maps.heat_1.weight",
        "maps.heat_1.bias",
        "maps.heat_2.weight",
        "maps.heat_2.bias",
        "maps.look_again.0.0.weight",
        "maps.head.offset.weight",
        "maps.head.offset.bias",
    }
    assert "classifier.weight" in report.unused
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in report.fresh)
    assert all(torch.equal(after[name], other.state_dict()[name]) for name in report.loaded)


def test_names_of_a_vgg16_checkpoint_fit(tmp_path):
    """Torchvision numbers conv4_3 features.21; later layers and the classifier are left over."""
    channels = {
        0: (3, 64),
        2: (64, 64),
        5: (64, 128),
        7: (128, 128),
        10: (128, 256),
        12: (256, 256),
        14: (256, 256),
    }
    channels |= {17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512)}
    content = {}
    for index, (inner, outer) in channels.items():
        content[f"features.{index}.weight"] = torch.full((outer, inner, 3, 3), float(index))
        content[f"features.{index}.bias"] = torch.zeros(outer)
    torch.save(content, tmp_path / "vgg16.pth")
    model = build_detector("cpm_vgg16", 5)
    report = load_pretrained(model, tmp_path / "vgg16.pth", model.trunk)
    assert len(report.loaded) == 20
    assert report.unused == ("features.24.weight", "features.24.bias")
    assert model.features[21].weight.unique() == 21


def test_another_architecture_is_refused(tmp_path, other):
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="does not fit this detector's trunk"):
        build_detector("cpm_vgg16", 5, str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_broken_file_is_one_clear_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(ConfigError, match="cannot be read as plain tensors"):
        build_detector("lite", 5, str(tmp_path / name))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"model": build_detector("lite", 5)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="cannot be read as plain tensors"):
        build_detector("lite", 5, str(tmp_path / "w.pth"))


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a file"):
        build_detector("lite", 5, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("data", [b"", b"\x80", b"cos\nsystem\n", b"(", b"]q.", bytes(64)], ids=repr)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_bytes_of_anything_are_refused_by_name(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=rf"{name} (cannot be read as plain tensors|does not fit)"):
        load_pretrained(torch.nn.Linear(1, 1), tmp_path / name, ("weight",))
