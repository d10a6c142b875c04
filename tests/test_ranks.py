"""The tool that tests with ranks stand on: results by rank, the first failure, the deadline."""

import os
import time

import pytest

from tests.ranks import RankFailed, run_ranks

pytestmark = pytest.mark.ranks


def add_ranks(rank, world, offset):
    import torch
    import torch.distributed as dist

    total = torch.tensor([rank + offset])
    dist.all_reduce(total)
    return rank, total


def fail_on_one(rank, world):
    import torch.distributed as dist

    if rank == 1:
        raise ValueError("the reason")
    dist.barrier()


def die(rank, world):
    import torch.distributed as dist

    if rank == 1:
        os._exit(7)
    dist.barrier()


def sleep_on_zero(rank, world):
    if rank == 0:
        time.sleep(60)


def read_environment(rank, world):
    return {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GREETING")}


def test_results_come_back_by_rank():
    results = run_ranks(add_ranks, 2, 10)
    assert [(rank, total.item()) for rank, total in results] == [(0, 21), (1, 21)]


def test_the_first_traceback_wins():
    with pytest.raises(RankFailed, match=r"(?s)rank 1 raised.*the reason"):
        run_ranks(fail_on_one)


def test_a_dead_rank_is_named():
    with pytest.raises(RankFailed, match="rank 1 died with exit code 7"):
        run_ranks(die)


def test_the_deadline_names_who_was_late():
    started = time.monotonic()
    with pytest.raises(RankFailed, match=r"ranks \[0\]"):
        run_ranks(sleep_on_zero, 2, timeout_s=5.0, group=False)
    assert time.monotonic() - started < 30


def test_ranks_see_what_torchrun_would_set():
    results = run_ranks(read_environment, 2, group=False, env={"GREETING": "hello"})
    assert results[1] == {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "GREETING": "hello"}
