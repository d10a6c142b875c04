"""One backend per role: by its own processes, the same for all of them, and a mixture is refused."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from tests.ranks import run_ranks
from tsal_dist.dist import backends, groups
from tsal_dist.dist.backends import CPU, GLOO, NCCL, agree_on_backend, choose_backend
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat
from tsal_dist.dist.waiting import wait_for_keys
from tsal_dist.errors import AskedToLeave, PeerLost, TopologyError


@pytest.mark.parametrize(
    ("places", "backend"),
    [
        ([CPU], GLOO),
        ([CPU] * 4, GLOO),
        (["a"], NCCL),
        (["a", "b", "c"], NCCL),
        (["a", "b", "a"], GLOO),
    ],
)
def test_nccl_only_where_every_rank_of_the_role_has_its_own_gpu(places, backend):
    assert choose_backend("student", places) == backend


def test_a_role_that_is_half_on_gpus_is_refused_in_a_sentence():
    with pytest.raises(TopologyError, match=r"1 of 3 student ranks see no GPU \(rank 1 is the first\)"):
        choose_backend("student", ["a", CPU, "b"])


def agree(rank, world, places):
    return agree_on_backend("student", role_store(), rank, world, places[rank], 30, StopFlag())


def role_store():
    from tsal_dist.dist.environment import read_environment
    from tsal_dist.dist.groups import open_launch_store

    return PrefixStore("role/student/0", open_launch_store(read_environment(), 30))


@pytest.mark.ranks
@pytest.mark.parametrize(("places", "backend"), [(["a", "b"], NCCL), (["a", "a"], GLOO)])
def test_every_rank_comes_to_the_same_answer(places, backend):
    assert run_ranks(agree, 2, places, group=False) == [backend] * 2


def test_a_rank_that_does_not_come_is_named():
    with pytest.raises(PeerLost, match=r"rank\(s\) 1 to join"):
        agree_on_backend("student", dist.HashStore(), 0, 2, CPU, 0.1, StopFlag())


def test_who_is_asked_to_leave_before_all_are_there_takes_the_others_with_it():
    """One that had seen all keys would wait in vain while the group is made, and hear no signal there."""
    store, asked, other = dist.HashStore(), StopFlag(), StopFlag()
    asked.request("SIGTERM")
    with pytest.raises(AskedToLeave, match="SIGTERM before"):
        agree_on_backend("student", store, 0, 2, CPU, 30, asked)
    with pytest.raises(AskedToLeave, match="another rank was asked to stop before"):
        agree_on_backend("student", store, 1, 2, CPU, 30, other)


def test_who_is_asked_when_all_are_there_joins_with_the_others():
    store, asked = dist.HashStore(), StopFlag()
    store.set("place/1", CPU)
    asked.request("SIGTERM")
    assert agree_on_backend("student", store, 0, 2, CPU, 30, asked) == GLOO
    assert agree_on_backend("student", store, 1, 2, CPU, 30, StopFlag()) == GLOO


def test_a_signal_ends_the_wait_for_a_key():
    stop, store = StopFlag(), dist.HashStore()
    threading.Timer(0.2, stop.request, ["SIGTERM"]).start()
    started = time.monotonic()
    assert wait_for_keys(store, ["a", "b"], 30, stop) == ["a", "b"]
    assert time.monotonic() - started < 5
    store.set("a", "")
    assert wait_for_keys(store, ["a", "b"], 30, stop) == ["b"]
    store.set("b", "")
    assert wait_for_keys(store, ["a", "b"], 30, stop) == []


def test_nccl_is_bound_to_its_device_at_once(monkeypatch):
    """A GPU that is not there: what torch would be asked for."""
    asked = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.update(current=device))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"gpu-{device}")
    )
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **words: asked.update(words, backend=backend)
    )
    monkeypatch.setattr(groups, "present_role", lambda *seat: None)
    place = Environment(rank=1, world=2, local_rank=1, local_world=2)
    group = groups.join_role(place, Seat("teacher", 0, 1), dist.HashStore(), 5, StopFlag())
    assert asked["backend"] == NCCL
    assert asked["device_id"] == asked["current"] == group.device == torch.device("cuda", 1)


def test_gloo_is_bound_to_none(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **words: asked.update(words, backend=backend)
    )
    monkeypatch.setattr(groups, "present_role", lambda *seat: None)
    groups.join_role(Environment(), Seat("student", 0, 1), dist.HashStore(), 5, StopFlag(), use_gpu=False)
    assert (asked["backend"], asked["device_id"]) == (GLOO, None)
    assert backends.name_place(torch.device("cpu")) == CPU
