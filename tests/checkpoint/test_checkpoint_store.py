"""A checkpoint is whole or absent: killed between any two writes, damaged, foreign, written by other ranks."""

import errno
import json
import os
import signal
import sys

import pytest
import torch

from tests.checkpoint.equality import equal
from tests.ranks import CONTEXT, run_ranks
from tsal_dist.checkpoint import folder as folder_module
from tsal_dist.checkpoint import store as store_module
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import CheckpointError, DiskFull, StaleRun
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure

IDENTITY = {"recipe": "tsal", "num_points": 68, "milestones": (0.5, 0.9)}


def state_of(step):
    return {"weights": {"a": torch.full((3,), float(step))}, "step": step, "cursor": {"t-r0-1": [4, 17]}}


def open_store(folder, keep=2, **kwargs):
    return Checkpoints(folder, kwargs.pop("identity", IDENTITY), keep, **kwargs)


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


@pytest.mark.parametrize("file", ["role.json", "role.safetensors", "rank_0.json", "rank_0.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_named(tmp_path, file, damage):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {"rng": torch.arange(4)})
    path = tmp_path / "step_10" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(CheckpointError, match=rf"{file} is missing or not what was committed"):
        store.load(10)


def test_an_unfinished_one_is_refused_and_the_whole_ones_are_listed(tmp_path):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (tmp_path / "step_20").mkdir()
    with pytest.raises(CheckpointError, match=r"never finished. Whole checkpoints in .*: 10\."):
        store.load(20)
    (tmp_path / "step_10" / "COMMIT").write_text("{")
    with pytest.raises(CheckpointError, match="not readable"):
        store.load(10)


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


def save_on_ranks(rank, world, folder):
    store = open_store(folder, rank=rank, world=world)
    store.save(10, state_of(10) if rank == 0 else {}, {"rank": rank})
    return store.latest_committed()


def load_on_ranks(rank, world, folder):
    loaded = open_store(folder, rank=rank, world=world).load(10)
    return loaded.state["step"], loaded.rank_state


@pytest.mark.ranks
def test_ranks_save_together_and_fewer_or_more_load(tmp_path):
    assert run_ranks(save_on_ranks, 2, tmp_path) == [10, 10]
    assert run_ranks(load_on_ranks, 2, tmp_path) == [(10, {"rank": 0}), (10, {"rank": 1})]
    assert run_ranks(load_on_ranks, 1, tmp_path) == [(10, None)]
    assert run_ranks(load_on_ranks, 3, tmp_path) == [(10, None)] * 3


def fail_on_rank_one(rank, world, folder):
    from tsal_dist.checkpoint import folder as module

    store = open_store(folder, rank=rank, world=world)
    store.save(10, state_of(10), {})
    real = module.write_whole

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    if rank == 1:
        module.write_whole = full
    with pytest.raises(CheckpointError, match=r"step 20 could not be written \(rank 1: .*No space left"):
        store.save(20, state_of(20), {})
    assert store.committed() == [10]
    module.write_whole = real
    store.save(30, state_of(30), {})
    return store.committed()


@pytest.mark.ranks
def test_a_full_disk_on_one_rank_is_an_error_on_all_and_costs_nothing(tmp_path):
    assert run_ranks(fail_on_rank_one, 2, tmp_path) == [[10, 30], [10, 30]]


@pytest.mark.parametrize(
    "text", ["[]", "5", "[" * 9000, '{"world": "1", "identity": {}, "files": {}}', '{"world": 1}', "\xff"]
)
def test_a_commit_that_says_something_else_is_refused(tmp_path, text):
    place = open_store(tmp_path).save(10, state_of(10), {})
    (place / "COMMIT").write_text(text)
    with pytest.raises(CheckpointError, match="COMMIT is not readable"):
        open_store(tmp_path).load(10)


@pytest.mark.parametrize("text", ["", '"good"', "[" * 9000, "NaN", "true"])
def test_a_score_that_is_no_number_counts_as_none(tmp_path, text):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (store.save(20, state_of(20), {}) / "SCORE").write_text(text)
    store.record_score(10, 0.5)
    assert open_store(tmp_path).best() == 10


def shown(folder):
    return sorted(path.name for path in folder.iterdir())


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


@pytest.mark.parametrize("stray", ["step_20", "step_99", "notes.txt"])
def test_a_stray_file_is_in_nobodys_way(tmp_path, stray):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (tmp_path / stray).write_text("what is this?")
    store.save(20, state_of(20), {})
    assert open_store(tmp_path).committed() == [10, 20]
    assert open_store(tmp_path).load_latest().step == 20


@pytest.mark.parametrize("file", ["COMMIT", "role.json", "role.safetensors", "rank_0.json"])
def test_a_damaged_newest_one_is_set_aside_and_the_one_before_is_taken(tmp_path, monkeypatch, caplog, file):
    monkeypatch.setattr(store_module, "LOOKS_S", (0, 0))
    store = open_store(tmp_path)
    for step in (10, 20):
        place = store.save(step, state_of(step), {})
    data = bytearray((place / file).read_bytes())
    data[len(data) // 2] ^= 4
    (place / file).write_bytes(data)
    again = open_store(tmp_path)
    loaded = again.load_latest()
    assert (loaded.step, again.at) == (10, 10)
    assert equal(loaded.state, state_of(10))
    assert "step 20 is damaged and set aside" in caplog.text
    (aside,) = tmp_path.glob("damaged-step_20-*")
    assert (aside / file).read_bytes() == data, "somebody may want to look at it"
    again.save(20, state_of(20), {})
    assert open_store(tmp_path).load_latest().step == 20
    assert aside.exists()


def test_where_all_are_damaged_it_ends_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LOOKS_S", (0,))
    store = open_store(tmp_path)
    for step in (10, 20):
        (store.save(step, state_of(step), {}) / "role.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"None of the checkpoints 10, 20 .* is whole"):
        open_store(tmp_path).load_latest()


def test_a_bit_flip_in_commit_is_noticed(tmp_path):
    place = open_store(tmp_path).save(10, state_of(10), {})
    whole = (place / "COMMIT").read_bytes()
    at = whole.index(b'"world":1') + len(b'"world":')
    (place / "COMMIT").write_bytes(whole[:at] + b"2" + whole[at + 1 :])
    with pytest.raises(CheckpointError, match="COMMIT is not readable"):
        open_store(tmp_path).load(10)


def test_no_step_beyond_the_one_asked_for(tmp_path):
    store = open_store(tmp_path)
    for step in (10, 20):
        store.save(step, state_of(step), {})
    assert open_store(tmp_path).load_latest(15).step == 10
    assert open_store(tmp_path).load_latest(5) is None


def resume_with_a_stale_view(rank, world, folder):
    """Rank 1 does not see the newest checkpoint in its listing, as on another host's NFS client."""
    store = open_store(folder, rank=rank, world=world)
    for step in (20, 40):
        store.save(step, state_of(step), {"rank": rank})
    again = open_store(folder, rank=rank, world=world)
    if rank == 1:
        again.committed = lambda: [20]
    loaded = again.load_latest()
    return loaded.step, loaded.rank_state


def resume_where_one_is_damaged(rank, world, folder):
    from tsal_dist.checkpoint import store as module

    module.LOOKS_S = (0,)
    store = open_store(folder, rank=rank, world=world)
    for step in (20, 40):
        place = store.save(step, state_of(step), {"rank": rank})
    if rank == 1:
        (place / "rank_1.json").write_text("{}")  # only this rank reads it
    return open_store(folder, rank=rank, world=world).load_latest().step


@pytest.mark.ranks
def test_all_ranks_go_on_from_the_same_step(tmp_path):
    assert run_ranks(resume_with_a_stale_view, 2, tmp_path / "a") == [(40, {"rank": 0}), (40, {"rank": 1})]
    assert run_ranks(resume_where_one_is_damaged, 2, tmp_path / "b") == [20, 20]


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
