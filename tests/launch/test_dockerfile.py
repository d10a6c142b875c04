"""The image's text: clean for the linter, and the same settings as the code's."""

import subprocess
import sys
from pathlib import Path

from tests.launch.conftest import ROOT
from tsal_dist.dist.environment import MALLOC_SETTINGS

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
