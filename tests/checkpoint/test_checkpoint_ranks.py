"""Ranks save together, load together whatever their number was, and go on from the same step."""

import errno

import pytest

from tests.checkpoint.small_states import open_store, state_of
from tests.ranks import run_ranks
from tsal_dist.errors import CheckpointError


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
