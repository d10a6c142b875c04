"""The fast run leaves out what is slow, and finds out who is slow and does not say so; a retry needs a reason."""

import subprocess
import sys

import pytest

from tests.test_house import ROOT

pytestmark = pytest.mark.slow  # a pytest of its own

PAGE = """
import time
import pytest

@pytest.mark.slow
def test_marked():
    raise AssertionError("it was run")

def test_quick():
    pass

def test_sleepy():
    time.sleep(0.5)

def test_busy():
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
"""
RACES = """
import pytest
tried = []

@pytest.mark.os_race{reason}
def test_loses_once():
    tried.append(1)
    assert len(tried) > 1

def test_loses_too():
    tried.append(1)
    assert len(tried) > 3
"""


def run(tmp_path, page, *flags):
    """What pytest says of a page of tests under this project's conftest, with a limit of a tenth of a second."""
    (tmp_path / "conftest.py").write_text(
        "from tests import conftest\nfrom tests.conftest import *\nconftest.MOST_CPU_S = 0.1\n"
    )
    (tmp_path / "test_page.py").write_text(page)
    words = [sys.executable, "-m", "pytest", "-q", "-c", f"{ROOT}/pyproject.toml", "--rootdir", str(tmp_path)]
    ended = subprocess.run(
        [*words, *flags, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    return ended.stdout + ended.stderr


def test_the_fast_run_fails_a_slow_test_that_is_not_marked(tmp_path):
    said = run(tmp_path, PAGE, "--fast")
    assert "1 failed, 2 passed, 1 deselected" in said
    assert "a test without the mark `slow` has 0.1 s" in said
    assert "test_page.py::test_busy" in said.rpartition("FAILED")[2], "the processor counts, not the clock"


def test_the_whole_run_has_more_patience_and_not_for_ever(tmp_path):
    """The marked one runs too, and fails of itself."""
    for seconds, failed in ((0.3, 1), (1.0, 2)):
        said = run(tmp_path, PAGE.replace("+ 0.5", f"+ {seconds}"))
        assert f"{failed} failed, {4 - failed} passed" in said
        assert ("test_page.py::test_busy" in said.rpartition("FAILED")[2]) == (failed == 2)


def test_only_a_test_that_names_its_race_is_tried_again(tmp_path):
    said = run(tmp_path, RACES.format(reason='("a signal may come before the handler")'))
    assert "1 failed, 1 passed, 1 rerun" in said
    assert "1 tried again: test_page.py::test_loses_once, for: a signal may come before the handler" in said


def test_a_race_without_a_name_is_refused(tmp_path):
    assert "os_race says which race of the operating system" in run(tmp_path, RACES.format(reason=""))
