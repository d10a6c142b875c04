"""A run that is started twice: the later launch goes on, the earlier one ends and stays so."""

import pytest

from launch.other_launch import taken_over, turns_of
from tests.heart import beating
from tests.marks import against_the_clock
from tests.runs.jobs import Jobs, log_text, student_step
from tsal_dist import run as run_module
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.run_dir import RunDir


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "WATCHED_S", 0.5)
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def test_one_turn_more_is_our_own(run_dir):
    store = PosixStore(run_dir.root)
    assert turns_of(RunDir(run_dir.root / "none"), ["student"]) == {"student": 0}
    begin_tenure(store, "student", 0, "run")
    before = turns_of(run_dir, ["student"])
    assert before == {"student": 1}
    begin_tenure(store, "student", 0, "run")
    with beating(run_dir.root, "student"):
        assert taken_over(run_dir, before, 0.1) == "", "what beats may be a peer of ours"


@pytest.mark.parametrize(("role", "found"), [("student", "student-0"), ("teacher", "")])
def test_two_turns_more_and_a_heart_that_beats_are_another_launch(run_dir, role, found):
    store = PosixStore(run_dir.root)
    before = turns_of(run_dir, ["student"])
    for _ in range(2):
        begin_tenure(store, "student", 0, "run")
    assert taken_over(run_dir, before, 0.1) == "", "the other one is dead as well"
    with beating(run_dir.root, role):
        assert taken_over(run_dir, before, 0.1) == found


@against_the_clock
@pytest.mark.ranks
@pytest.mark.slow
def test_two_launchers_do_not_end_each_other_in_turns(faces, tmp_path):
    folder = tmp_path / "run"
    words = ("method.name=supervised", "train.steps=100000", "runtime.checkpoint.every=20")
    with Jobs() as jobs:
        first = jobs.local(faces, folder, *words, topology="split")
        first.until(lambda: student_step(folder) > 20, "steps")
        second = jobs.local(faces, folder, *words, topology="split", flags=["--resume"])
        assert first.finish(120) == 2, first.output
        assert "student-0 is at work" in first.output
        assert "was started again as incarnation 2" in log_text(folder, "student") + first.output
        step = student_step(folder)
        second.until(lambda: student_step(folder) > step + 20, "steps of the second launch")
        assert second.process.poll() is None
        assert "failure 1 of at most" not in second.output, "which is where the first one printed, too"
