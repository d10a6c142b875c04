"""First weights are needed once: a role that has checkpoints goes on without the file it began with."""

import pytest
import torch

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.runs.build_nets import build_model
from tsal_dist.runs.first_weights import first_weights

SETTINGS = ("model.detector=lite0", "model.num_points=5")


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setattr("tsal_dist.models.published.find_spec", lambda name: None)


@pytest.mark.usefixtures("no_package")
@pytest.mark.parametrize("setting", ["", "gone.pth"])
def test_a_new_role_needs_the_file(tmp_path, setting):
    config = load_config([], [*SETTINGS, f"model.weights={setting}"])
    with pytest.raises(ConfigError, match=r"pip install|not a file"):
        first_weights(config.model, tmp_path)


@pytest.mark.usefixtures("no_package")
@pytest.mark.parametrize("setting", ["", "gone.pth"])
def test_a_role_with_a_checkpoint_does_not(tmp_path, setting):
    (tmp_path / "step_40").mkdir()
    config = load_config([], [*SETTINGS, f"model.weights={setting}"])
    with pytest.raises(ConfigError):
        first_weights(config.model, tmp_path)  # not finished
    (tmp_path / "step_40" / "COMMIT").touch()
    assert first_weights(config.model, tmp_path) == ""


def test_every_process_begins_with_the_same(tmp_path):
    torch.manual_seed(3)
    other = build_detector("lite0", 5)
    torch.save(other.encoder.state_dict(prefix="encoder."), tmp_path / "trunk.pt")
    config = load_config([], [*SETTINGS, f"model.weights={tmp_path / 'trunk.pt'}"])
    one, two = (
        build_model(config, weights=first_weights(config.model, tmp_path)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(one["encoder.stem.weight"], other.encoder.stem.weight)
    assert not torch.equal(one["maps.up.0.0.weight"], other.maps.up[0][0].weight)
