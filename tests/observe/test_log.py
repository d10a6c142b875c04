"""Every rank has its file, the newest attempt has a name, the screen stays readable."""

import logging

import pytest

from tsal_dist.observe.log import start_logging, stop_logging
from tsal_dist.run_dir import RunDir


@pytest.fixture(autouse=True)
def _close():
    yield
    stop_logging()


def test_lines_carry_role_and_rank(tmp_path, capsys):
    path = start_logging(RunDir(tmp_path), "student", 0, attempt=2)
    logging.getLogger("tsal_dist.roles").info("hello")
    assert path == tmp_path / "logs" / "attempt_2" / "student-r0.log"
    assert "I student-r0 tsal_dist.roles: hello" in path.read_text()
    assert "hello" in capsys.readouterr().err
    assert (tmp_path / "logs" / "latest" / "student-r0.log").read_text() == path.read_text()


def test_other_ranks_only_warn_on_the_screen(tmp_path, capsys):
    path = start_logging(RunDir(tmp_path), "student", 1, attempt=0)
    logging.getLogger("tsal_dist.roles").info("quiet")
    logging.getLogger("tsal_dist.roles").warning("loud")
    assert "quiet" in path.read_text()
    err = capsys.readouterr().err
    assert "quiet" not in err
    assert "W student-r1 tsal_dist.roles: loud" in err


def test_latest_follows_the_attempts(tmp_path):
    for attempt in (0, 1):
        start_logging(RunDir(tmp_path), "teacher", 0, attempt)
    assert (tmp_path / "logs" / "latest").readlink().name == "attempt_1"


def test_starting_again_replaces_the_handlers(tmp_path):
    first = start_logging(RunDir(tmp_path), "student", 0, attempt=0)
    second = start_logging(RunDir(tmp_path), "student", 0, attempt=1)
    logging.getLogger("tsal_dist").info("once")
    assert "once" not in first.read_text()
    assert second.read_text().count("once") == 1
