"""A process that wakes up inside a save touches nothing of its successor's."""

import errno

import pytest

from tests.checkpoint.equality import equal
from tests.checkpoint.small_states import open_store, shown, state_of
from tsal_dist.checkpoint import folder as folder_module
from tsal_dist.errors import StaleRun
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure


def stopped_in(store, step, monkeypatch, moment, meanwhile):
    """Save, with `meanwhile` happening before the `moment`-th file is written: as between SIGSTOP and SIGCONT."""
    real, count = folder_module.write_whole, [0]

    def write(path, data):
        count[0] += 1
        if count[0] == moment:
            meanwhile()
        real(path, data)

    monkeypatch.setattr(folder_module, "write_whole", write)
    try:
        store.save(step, state_of(step), {})
    finally:
        monkeypatch.setattr(folder_module, "write_whole", real)


@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("step", [60, 140, 200])
def test_who_wakes_up_inside_a_save_touches_nothing_of_its_successor(tmp_path, monkeypatch, moment, step):
    run = PosixStore(tmp_path / "run", create=True)
    folder = tmp_path / "run" / "student"
    zombie = open_store(folder, tenure=begin_tenure(run, "student", 0, "id"))
    zombie.save(40, state_of(40), {})

    def succeed():
        successor = open_store(folder, tenure=begin_tenure(run, "student", 0, "id"))
        assert successor.load_latest().step == 40
        for later in (140, 160):
            successor.save(later, state_of(later), {})

    with pytest.raises(StaleRun, match="incarnation 1 and must end"):
        stopped_in(zombie, step, monkeypatch, moment, succeed)
    assert shown(folder) == ["step_140", "step_160"]
    again = open_store(folder)
    assert again.committed() == [140, 160]
    for kept in (140, 160):
        assert equal(again.load(kept).state, state_of(kept))
    with pytest.raises(StaleRun):
        zombie.record_score(140, 0.1)
    assert again.best() is None


def test_a_save_whose_folder_a_successor_has_cleared_away_says_why(tmp_path, monkeypatch):
    """Stopped inside a write, it finds its temporary file gone: no disk is to blame."""
    run = PosixStore(tmp_path / "run", create=True)
    folder = tmp_path / "run" / "student"
    zombie = open_store(folder, tenure=begin_tenure(run, "student", 0, "id"))

    def cleared(path, data):
        begin_tenure(run, "student", 0, "id")
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(folder_module, "write_whole", cleared)
    with pytest.raises(StaleRun, match="was started again as incarnation 2"):
        zombie.save(10, state_of(10), {})


def test_even_where_the_turn_was_asked_a_moment_too_early_a_successor_keeps_its_name(tmp_path, monkeypatch):
    """Stopped between the question and the rename, no question helps: the names do."""
    run = PosixStore(tmp_path / "run", create=True)
    folder = tmp_path / "run" / "student"
    zombie = open_store(folder, tenure=begin_tenure(run, "student", 0, "id"))
    monkeypatch.setattr(zombie, "_require_current", lambda: None)
    successor = open_store(folder, tenure=begin_tenure(run, "student", 0, "id"))
    successor.save(100, state_of(100), {"of": "successor"})
    with pytest.raises(StaleRun, match="was written by incarnation 2"):
        zombie.save(100, state_of(100), {"of": "zombie"})
    assert open_store(folder).load(100).rank_state == {"of": "successor"}
    zombie.save(120, state_of(120), {})  # a step that the successor has not come to
    assert open_store(folder).committed() == [100], "what the zombie left is of a history that ended"
    successor.save(110, state_of(110), {})
    assert shown(folder) == ["step_100", "step_110"]
