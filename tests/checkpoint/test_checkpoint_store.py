"""A checkpoint is whole or absent: killed between any two writes, on a full disk, beside others that stay or go."""

import errno
import json
import os
import signal
import sys

import pytest

from tests.checkpoint.equality import equal
from tests.checkpoint.small_states import IDENTITY, open_store, shown, state_of
from tests.ranks import CONTEXT
from tsal_dist.checkpoint import folder as folder_module
from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import CheckpointError, DiskFull


def test_what_is_saved_is_what_is_loaded(tmp_path):
    store = open_store(tmp_path / "student")
    assert store.latest_committed() is None
    store.save(10, state_of(10), {"loader": {"position": 3}})
    loaded = open_store(tmp_path / "student").load(10)
    assert loaded.step == 10
    assert equal(loaded.state, state_of(10))
    assert loaded.rank_state == {"loader": {"position": 3}}


def test_a_plain_entry_can_be_read_alone(tmp_path):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (tmp_path / "step_10" / "role.safetensors").unlink()
    assert store.peek(10, "cursor") == {"t-r0-1": [4, 17]}
    (tmp_path / "step_10" / "role.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not what was committed"):
        store.peek(10, "cursor")


def test_the_newest_and_the_best_stay(tmp_path):
    store = open_store(tmp_path, keep=2)
    for step, score in [(1, 0.9), (2, 0.3), (3, 0.5), (4, None), (5, float("nan")), (6, 0.3)]:
        store.save(step, state_of(step), {})
        if score is not None:
            store.record_score(step, score)
        assert store.latest_committed() == step
    assert store.committed() == [2, 5, 6]
    assert store.best() == 6  # the newest of equals
    store.save(7, state_of(7), {})
    assert store.committed() == [6, 7]


def test_another_history_is_removed(tmp_path):
    store = open_store(tmp_path, keep=3)
    for step in (10, 20, 30):
        store.save(step, state_of(step), {})
    again = open_store(tmp_path, keep=3)
    again.load(10)
    again.save(15, state_of(15), {})
    assert again.committed() == [10, 15]


def test_saving_where_one_resumed_changes_nothing(tmp_path):
    """A signal right after a resume asks for a checkpoint that is there: it must not be taken apart."""
    open_store(tmp_path, keep=1).save(10, state_of(10), {})
    before = (tmp_path / "step_10" / "COMMIT").stat()
    again = open_store(tmp_path, keep=1)
    again.load(10)
    again.save(10, state_of(10), {})
    assert (tmp_path / "step_10" / "COMMIT").stat() == before


def test_who_has_nothing_to_go_back_to_saves_the_same_step_again(tmp_path):
    """As a teacher does whose student went back to before its first checkpoint, and comes to that step once more."""
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    assert store.load_latest(5) is None
    store.save(10, state_of(20), {})
    assert equal(open_store(tmp_path).load(10).state, state_of(20))


def save_and_die(folder, point):
    """Save step 20, and be killed at the `point`-th time that a file or folder is about to change."""
    store = open_store(folder)
    seen = 0

    def watch(event, args):
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    store.save(20, state_of(20), {"rank": 0})
    os._exit(0)


@pytest.mark.slow
def test_killed_between_any_two_writes_the_previous_one_stands(tmp_path):
    """After every possible death: what is committed loads, is exact, and saving again succeeds."""
    ends = set()
    for point in range(1, 100):
        folder = tmp_path / str(point)
        store = open_store(folder)
        store.save(5, state_of(5), {})
        store.save(10, state_of(10), {})
        (folder / "step_20").mkdir()  # what an earlier crash left behind
        (folder / "step_20" / "role.json").write_text("{")
        process = CONTEXT.Process(target=save_and_die, args=(folder, point))
        process.start()
        process.join(60)
        latest = open_store(folder).latest_committed()
        assert latest in (10, 20)
        ends.add(latest)
        assert equal(open_store(folder).load(latest).state, state_of(latest))
        again = open_store(folder)
        again.save(30, state_of(30), {})
        assert again.latest_committed() == 30
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert process.exitcode == 0
    assert point > 10
    assert ends == {10, 20}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({**IDENTITY, "recipe": "mean_teacher"}, "recipe = 'tsal' and this run has 'mean_teacher'"),
        ({**IDENTITY, "shards": "abc"}, "shards = None and this run has 'abc'"),
    ],
)
def test_a_foreign_one_is_refused_by_name(tmp_path, other, message):
    open_store(tmp_path).save(10, state_of(10), {})
    with pytest.raises(CheckpointError, match=message):
        open_store(tmp_path, identity=other).load(10)
    assert open_store(tmp_path, identity=json.loads(json.dumps(IDENTITY))).load(10).step == 10


def test_a_removal_that_fails_costs_only_room(tmp_path, monkeypatch, caplog):
    """A read-only folder of an old one must not take the new one with it."""
    store = open_store(tmp_path, keep=1)
    store.save(10, state_of(10), {})

    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(folder_module.shutil, "rmtree", refuse)
    for step in (20, 30):
        store.save(step, state_of(step), {})
    assert store.committed() == [30]
    assert "cannot be removed" in caplog.text
    monkeypatch.undo()
    store.save(40, state_of(40), {})
    assert shown(tmp_path) == ["step_40"], "what could not be removed is removed as soon as it can"
    with monkeypatch.context() as patch:
        real = os.rename
        patch.setattr(
            folder_module.os, "rename", lambda *names: refuse() if "gone" in str(names) else real(*names)
        )
        store.save(50, state_of(50), {})
    assert open_store(tmp_path).load_latest().step == 50


def test_no_step_beyond_the_one_asked_for(tmp_path):
    store = open_store(tmp_path)
    for step in (10, 20):
        store.save(step, state_of(step), {})
    assert open_store(tmp_path).load_latest(15).step == 10
    assert open_store(tmp_path).load_latest(5) is None


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    """Four seconds without room, as where somebody's log is rotated, are no reason to end a run."""
    limits = DeadlinesConfig(poll_s=0.01, silent_s=20)
    store = open_store(tmp_path, limits=limits)
    real, refused = folder_module.write_whole, []

    def full(path, data):
        if len(refused) < 5:
            refused.append(path)
            raise DiskFull("full")
        real(path, data)

    monkeypatch.setattr(folder_module, "write_whole", full)
    store.save(10, state_of(10), {})
    assert len(refused) == 5
    assert equal(open_store(tmp_path).load(10).state, state_of(10))


def test_a_disk_that_stays_full_ends_with_a_sentence(tmp_path, monkeypatch):
    limits = DeadlinesConfig(poll_s=0.01, silent_s=0.05, group_s=1, shutdown_s=2, grace_s=3)
    store = open_store(tmp_path, limits=limits)
    store.save(10, state_of(10), {})

    def full(path, data):
        raise DiskFull(f"Cannot write {path}: the disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_whole", full)
        with pytest.raises(
            CheckpointError, match=r"step 20 could not be written .*the disk is full.*one before it"
        ):
            store.save(20, state_of(20), {})
    assert shown(tmp_path) == ["step_10"]
    store.save(30, state_of(30), {})
    assert store.committed() == [10, 30]
