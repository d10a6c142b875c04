import re

import pytest
import torch

from tests.installed import install
from tsal_dist.config import load_config
from tsal_dist.config.model import DETECTORS
from tsal_dist.errors import ConfigError
from tsal_dist.models import detectors as detectors_module
from tsal_dist.models.__main__ import main
from tsal_dist.models.detectors import build_detector, stride_of
from tsal_dist.models.embedding import embedding_width
from tsal_dist.models.input import normalize

NAMES = ("lite", "lite0", "hrnet_w18", "cpm_vgg16")


@pytest.fixture(scope="module")
def detectors():
    torch.manual_seed(0)
    return {name: build_detector(name, 68).eval() for name in NAMES}


def image(size=64, frames=2):
    return torch.randn(frames, 3, size, size, generator=torch.Generator().manual_seed(0))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lite", 436_243), ("lite0", 3_297_251), ("hrnet_w18", 9_818_952), ("cpm_vgg16", 43_910_552)],
)
def test_parameter_counts(detectors, name, parameters):
    assert count(detectors[name]) == parameters


def test_pose_machine_has_the_papers_size(detectors):
    """Trunk and stages of the published architecture: 7 635 264 and 16 716 687 in all."""
    model = detectors["cpm_vgg16"]
    assert count(model.features) == 7_635_264
    parts = (model.features, model.narrow, model.stage_1, model.stage_2, model.stage_3)
    assert sum(map(count, parts)) == 16_716_687


@pytest.mark.parametrize(("name", "stages"), [("lite", 2), ("lite0", 2), ("hrnet_w18", 1), ("cpm_vgg16", 3)])
def test_shapes(detectors, name, stages):
    model = detectors[name]
    with torch.no_grad():
        out = model(image(96))
    cells = 96 // model.stride
    assert out.heat_SNKhw.shape == (stages, 2, 69, cells, cells)
    assert out.center_N1hw.shape == (2, 1, cells, cells)
    assert out.offset_N2Khw.shape == (2, 136, cells, cells)
    assert torch.equal(out.points_heat_NKhw, out.heat_SNKhw[-1][:, :68])


@pytest.mark.parametrize("name", NAMES)
def test_begins_by_seeing_no_face(detectors, name):
    """Points near 0, background near 1, centre near its prior: no step is spent on unlearning noise."""
    with torch.no_grad():
        out = detectors[name](image())
    assert out.heat_SNKhw[:, :, :-1].abs().max() < 0.1
    assert (out.heat_SNKhw[:, :, -1] - 1).abs().max() < 0.1
    assert out.center_N1hw.sigmoid().mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", ["lite", "lite0", "cpm_vgg16"])
def test_a_frame_is_seen_alike_in_any_batch(name):
    """What one process and many, and a teacher and its labels, rely on; in training mode too."""
    torch.manual_seed(0)
    model = build_detector(name, 5).train()
    with torch.no_grad():
        together, alone = model(image(frames=3)), model(image(frames=3)[1:2])
    torch.testing.assert_close(together.heat_SNKhw[:, 1:2], alone.heat_SNKhw, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name):
    model = build_detector(name, 4)
    out = model(image())
    sum(part.square().sum() for part in out).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_computes_the_same(detectors, name):
    model = detectors[name]
    with torch.no_grad():
        plain = model(image())
        last = model.to(memory_format=torch.channels_last)(
            image().contiguous(memory_format=torch.channels_last)
        )
    model.to(memory_format=torch.contiguous_format)
    for one, other in zip(plain, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_stays_near(detectors, name):
    with torch.no_grad():
        full = detectors[name](image(frames=1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = detectors[name](
                image(frames=1)
            )  # one: a processor without instructions for it takes seconds
    assert half.center_N1hw.isfinite().all()
    torch.testing.assert_close(half.heat_SNKhw.float(), full.heat_SNKhw, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    "name", ["lite", "lite0", "cpm_vgg16", pytest.param("hrnet_w18", marks=pytest.mark.slow)]
)
def test_compiles_as_one_graph(detectors, name):
    model = detectors[name]
    with torch.no_grad():
        expected = model(image())
        got = torch.compile(model, backend="eager", fullgraph=True)(image())
    torch.testing.assert_close(got.heat_SNKhw, expected.heat_SNKhw)


@pytest.mark.slow
def test_backward_through_a_compiled_graph():
    model = build_detector("lite", 4)
    out = torch.compile(model, backend="aot_eager", fullgraph=True)(image())
    out.heat_SNKhw.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.stem.parameters())


def test_every_output_learns_one_batch():
    """A start that trains: within a few steps maps are near, and offsets have reached a dozen cells."""
    torch.manual_seed(0)
    model = build_detector("lite", 3)
    heat = torch.zeros(2, 4, 16, 16)
    heat[:, :3, 4:6, 7:9] = 1.0
    heat[:, 3] = 1 - heat[:, 0]
    offset = torch.tensor([12.0, -9.0, 5.0, 7.0, -12.0, 1.0]).view(1, 6, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        out = model(image())
        heat_error = (out.heat_SNKhw - heat).square().mean()
        offset_error = (out.offset_N2Khw - offset).abs().mean()
        optimizer.zero_grad()
        (heat_error + 0.01 * offset_error).backward()
        optimizer.step()
        errors.append((heat_error.item(), offset_error.item()))
    assert errors[-1][0] < 0.1 * errors[0][0]
    assert errors[-1][1] < 0.1 * errors[0][1]


@pytest.mark.parametrize(
    ("name", "width"), [("lite", 48), ("lite0", 48), ("hrnet_w18", 270), ("cpm_vgg16", 128)]
)
def test_every_detector_names_its_embedding(detectors, name, width):
    assert embedding_width(detectors[name]) == width


def test_unknown_name_is_refused():
    with pytest.raises(
        ConfigError, match="cpm_vgg16, hrnet_w18, lite, lite0, lite1, lite2, resnet18, resnet50"
    ):
        build_detector("resnet", 68)


OWN = """
import torch
from torch import nn
from tsal_dist.models.output import DetectorOutput

class Net(nn.Module):
    \"\"\"One convolution, which sees nothing.\"\"\"

    stride = {stride}

    def __init__(self, points):
        super().__init__()
        self.points = points
        self.norm = nn.BatchNorm2d(3)
        self.all = nn.Conv2d(3, 3 * points + 2, 8, stride=8)

    def forward(self, image):
        heat, center, offset = self.all(self.norm(image)).split([self.points + 1, 1, 2 * self.points], 1)
        return {gives}

"""


def own(tmp_path, gives="DetectorOutput(heat.unsqueeze(0), center, offset)", stride="8"):
    page = tmp_path / "my_net.py"
    page.write_text(OWN.format(gives=gives, stride=stride))
    return f"{page}:Net"


def test_a_file_of_ones_own_is_a_detector(tmp_path):
    config = load_config([], [f"model.detector={own(tmp_path)}"])
    net = build_detector(config.model.detector, 4)
    assert net(image()).heat_SNKhw.shape == (1, 2, 5, 8, 8)
    assert (stride_of(net), net.training) == (8, True)
    assert net.norm.num_batches_tracked == 1, "looked at without leaving a trace"


def test_what_an_installed_package_offers_is_a_detector(tmp_path, monkeypatch, capsys):
    own(tmp_path)
    install(tmp_path, "my_nets-1.0", "[tsal_dist.detectors]\nown = my_net:Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config([], ["model.detector=own"])
    assert stride_of(build_detector(config.model.detector, 4)) == 8
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "own " in said
    assert "One convolution, which sees nothing." in said


def test_its_weights_come_from_a_file_without_naming_a_trunk(tmp_path):
    torch.save({"all.weight": torch.ones(14, 3, 8, 8)}, tmp_path / "weights.pt")
    net = build_detector(own(tmp_path), 4, str(tmp_path / "weights.pt"))
    assert net.all.weight.eq(1).all()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("nn.BatchNorm2d(3)", "nn.BatchNrm2d(3)", "AttributeError in {page}, line 14: module 'torch.nn'"),
        (
            "split([self.points + 1",
            "split([self.points + 2",
            "RuntimeError in {page}, line 18: split_with_sizes",
        ),
    ],
)
def test_what_fails_in_it_is_one_sentence_that_says_where(tmp_path, before, after, words):
    page = tmp_path / "my_net.py"
    name = own(tmp_path)
    page.write_text(page.read_text().replace(before, after))
    with pytest.raises(ConfigError, match=re.escape(words.format(page=page))):
        build_detector(name, 4)


def test_it_is_listed_as_it_says_of_itself(tmp_path, capsys):
    assert main([own(tmp_path), "lite0"]) == 0
    said = capsys.readouterr().out
    assert "One convolution, which sees nothing.\n" in said
    assert "0.04 M parameters for 68 points, 8 pixels per cell" in said
    assert "lite0        on EfficientNet-Lite0" in said


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"gives": "heat"}, r"gives a Tensor for"),
        (
            {"stride": "4"},
            r"heat_SNKhw of shape \(1, 2, 5, 8, 8\) .* stride of 4. It must be \(1, 2, 5, 16, 16\)",
        ),
        ({"gives": "DetectorOutput(heat.unsqueeze(0), offset, center)"}, "center_N1hw of shape"),
        ({"stride": "None"}, "attribute `stride`"),
    ],
)
def test_one_that_gives_something_else_is_refused_with_what_it_must_give(tmp_path, other, message):
    with pytest.raises(ConfigError, match=message):
        build_detector(own(tmp_path, **other), 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py:Net", "model.detector names the file 'absent.py', which is not there"),
        ("no_such_module:Net", "model.detector is .* cannot be imported"),
        ("torch.nn:NoNet", "no such detector"),
        ("builtins:bytes", "gave a bytes"),
    ],
)
def test_a_place_without_a_detector_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        build_detector(name, 4)


def test_a_misspelt_name_is_refused_with_the_config():
    with pytest.raises(ConfigError, match=r"model.detector.*lite, lite0, .*my_net.py:Net"):
        load_config([], ["model.detector=lit0"])


def test_what_the_config_names_can_be_built():
    assert set(DETECTORS) == set(detectors_module._DETECTORS)


def test_normalize_keeps_the_bytes_order():
    raw = torch.zeros(1, 4, 6, 3, dtype=torch.uint8)
    raw[0, 1, 2] = torch.tensor([255, 0, 128])
    seen = normalize(raw)
    assert seen.shape == (1, 3, 4, 6)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        seen[0, :, 1, 2], torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225])
    )
