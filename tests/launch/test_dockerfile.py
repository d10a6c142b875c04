"""The image's text: clean for the linter, and the same settings as the code's."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.conftest import ROOT
from tsal_dist.dist.environment import MALLOC_SETTINGS

if sys.version_info >= (3, 11):
    import tomllib

TEXT = (ROOT / "Dockerfile").read_text()


def test_the_linter_has_nothing_to_say():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_linter_would_speak_up():
    linter = Path(sys.executable).with_name("hadolint")
    text = TEXT.replace("USER 1000", "USER root")
    done = subprocess.run([linter, "-"], input=text, capture_output=True, text=True, check=False)
    assert "DL3002" in done.stdout


def test_the_allocator_is_set_as_launchers_set_it():
    for name, value in MALLOC_SETTINGS.items():
        assert f"{name}={value}" in TEXT


def test_it_does_not_run_as_root():
    assert "\nUSER 1000\n" in TEXT


def requirements(extras, folder):
    """What the image's own line makes of pyproject.toml."""
    script = re.search(r'python -c "(import tomllib.*?)"', TEXT, re.DOTALL)[1]
    script = script.replace("\\\n", "").replace("${EXTRAS}", extras)
    shutil.copy(ROOT / "pyproject.toml", folder)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    return [(folder / name).read_text().split("\n") for name in ("first.txt", "then.txt")]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the image's Python has tomllib")
def test_every_extra_can_be_asked_for_and_deepspeed_comes_after_torch(tmp_path):
    first, then = requirements("report,deepspeed", tmp_path)
    assert [line for line in first if line.startswith("torch>")]
    assert [line for line in first if line.startswith("tensorboard")]
    assert not [line for line in first if "deepspeed" in line]
    assert [line.startswith("deepspeed") for line in then] == [True]
    assert requirements("report", tmp_path)[1] == [""]
    assert requirements("", tmp_path)[0] == [
        line for line in first if not re.match("matplotlib|tensorboard", line)
    ]
    assert requirements("report, deepspeed", tmp_path) == [first, then]
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]:
        assert requirements(name, tmp_path)


def test_the_base_is_the_same_tomorrow():
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", TEXT, re.MULTILINE)


def test_what_training_calls_when_it_starts_is_there():
    """A compiler for torch.compile, the verbs for NCCL, wget for KubeRay's probes; in the stage that the image is made from."""
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?", TEXT, re.MULTILINE)
    assert stages == [("${BASE}", "system"), ("system", "packages"), ("system", "")]
    system = TEXT[TEXT.index("AS system") : TEXT.index("AS packages")]
    for package in ("g++", "libibverbs1", "ibverbs-providers", "wget"):
        assert f" {package} " in system.replace("\n", " ")
