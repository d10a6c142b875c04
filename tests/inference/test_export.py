"""An exported file gives what the detector gives, says what it is, and is refused where it does not fit."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from tsal_dist.config import load_config
from tsal_dist.errors import CheckpointError, ConfigError, MissingExtra
from tsal_dist.inference.export import TOLERANCE, compare, export
from tsal_dist.inference.trained import Trained, load_weights
from tsal_dist.models.detectors import build_detector

POINTS = 5
CONFIG = load_config(
    [], ["model.detector=lite", "model.crop_px=32", f"model.num_points={POINTS}", "run.name=small"]
)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return Trained(build_detector("lite", POINTS).eval(), CONFIG, "small student step 1")


def outputs(model, count=1):
    torch.manual_seed(1)
    with torch.no_grad():
        return list(model(torch.randn(count, 3, 32, 32)))


def test_tensors_come_back_with_their_config(trained, tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    assert export(trained, path) == 0
    again = load_weights(path)
    assert again.config == CONFIG
    assert all(torch.equal(*pair) for pair in zip(outputs(trained.model), outputs(again.model), strict=True))
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["config"])["run"]["name"] == "small"
    assert [each.name for each in path.parent.iterdir()] == ["w.safetensors"]


@pytest.mark.slow
def test_a_program_takes_any_number_of_crops(trained, tmp_path):
    path = tmp_path / "w.pt2"
    assert export(trained, path) <= TOLERANCE
    again = torch.export.load(path).module()
    for pair in zip(outputs(trained.model, 5), outputs(again, 5), strict=True):
        torch.testing.assert_close(*pair)


@pytest.mark.slow
def test_an_onnx_graph_takes_any_number_of_crops(trained, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "w.onnx"
    assert 0 < export(trained, path) <= TOLERANCE
    graph = onnx.load(path)
    assert (
        json.loads({prop.key: prop.value for prop in graph.metadata_props}["config"])["run"]["name"]
        == "small"
    )
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param, "a name and no number"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_a_trunk_with_uneven_padding_and_scaled_filters_goes_along(tmp_path, form):
    pytest.importorskip("onnx")
    config = load_config([], ["model.detector=lite0", "model.crop_px=64", f"model.num_points={POINTS}"])
    torch.manual_seed(0)
    trained = Trained(build_detector("lite0", POINTS).eval(), config, "lite0")
    assert export(trained, tmp_path / f"w.{form}") <= TOLERANCE


def test_an_absent_exporter_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"tsal_dist\[export\]"):
        export(trained, tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_says_something_else_is_not_left(trained, tmp_path, monkeypatch):
    """As if the written file had lost something: another detector comes back."""
    from tsal_dist.inference import export as page

    other = Trained(build_detector("lite", POINTS).eval(), CONFIG, "other")
    monkeypatch.setattr(page, "load_weights", lambda path: other)
    with pytest.raises(CheckpointError, match="differs from the detector"):
        export(trained, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_not_a_number_is_a_difference(trained):
    broken = compare(trained.model, lambda crops: [each * torch.nan for each in trained.model(crops)], 32)
    assert not broken <= TOLERANCE


def test_an_unknown_form_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.safetensors or \.onnx or \.pt2"):
        export(trained, tmp_path / "w.bin")


def test_weights_of_another_layout_are_refused(trained, tmp_path):
    """Its heads would stay random, and predict anything."""
    export(trained, tmp_path / "w.safetensors")
    other = load_config([], ["model.detector=lite", "model.num_points=68"])
    with pytest.raises(ConfigError, match=r"lacks .* tensors of lite with 68 points"):
        load_weights(tmp_path / "w.safetensors", other)


def test_a_file_without_a_config_asks_for_one(trained, tmp_path):
    path = tmp_path / "plain.pt"
    torch.save(trained.model.state_dict(), path)
    with pytest.raises(ConfigError, match="--config"):
        load_weights(path)
    again = load_weights(path, CONFIG)
    assert all(torch.equal(*pair) for pair in zip(outputs(trained.model), outputs(again.model), strict=True))


def test_help_imports_nothing_heavy():
    code = "import sys, runpy\nsys.argv = ['x', '--help']\ntry:\n    runpy.run_path('tools/export_weights.py', run_name='__main__')\nexcept SystemExit:\n    print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
