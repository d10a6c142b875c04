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
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.errors import CheckpointError

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
    from tsal_dist.checkpoint import store as module

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
