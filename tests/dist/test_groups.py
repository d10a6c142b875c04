"""A role is a world of its own: roles do not wait for each other, and a restart starts afresh."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ranks import run_ranks

pytestmark = pytest.mark.ranks
ROOT = Path(__file__).parents[2]


def join(spec):
    from tsal_dist.dist.environment import read_environment
    from tsal_dist.dist.groups import in_turn, join_role, open_launch_store
    from tsal_dist.dist.shutdown import StopFlag
    from tsal_dist.dist.topology import assign_roles

    env = read_environment()
    store = open_launch_store(env, 30)
    seat = assign_roles(env.world, env.local_world, spec)[env.rank]
    with in_turn(env, store, 30, StopFlag()):
        pass
    return join_role(env, seat, store, 30, StopFlag(), use_gpu=False)


def talk_within_the_role(rank, world, folder):
    """The teacher joins in nothing before both students have done all that they do together."""
    import torch
    import torch.distributed as dist

    group = join("1")
    if group.role == "teacher":
        deadline = time.monotonic() + 20
        while len(list(folder.iterdir())) < 2:
            assert time.monotonic() < deadline, "the students wait for the teacher"
            time.sleep(0.01)
    total = torch.tensor([rank + 1])
    dist.barrier()
    dist.all_reduce(total)
    if group.role == "student":
        (folder / f"student-{group.rank}").touch()
    return group.role, group.rank, dist.get_world_size(), os.environ["WORLD_SIZE"], total.item()


def join_alone(rank, world):
    import torch.distributed as dist

    from tsal_dist.dist.environment import Environment
    from tsal_dist.dist.groups import join_role, leave_role, open_launch_store
    from tsal_dist.dist.shutdown import StopFlag
    from tsal_dist.dist.topology import Seat

    alone = Environment()
    group = join_role(
        alone, Seat("student", 0, 1), open_launch_store(alone, 10), 10, StopFlag(), use_gpu=False
    )
    dist.barrier()
    leave_role()
    leave_role()  # leaving twice is harmless
    return group.rank, group.world, group.device.type, dist.is_initialized()


def lose_the_other(rank, world):
    import torch
    import torch.distributed as dist

    from tsal_dist.dist.groups import RoleGroup, losing_peers
    from tsal_dist.errors import PeerLost

    if rank == 1:
        dist.destroy_process_group()
        return ""
    group = RoleGroup("student", rank, world, torch.device("cpu"))
    try:
        with losing_peers(group):
            dist.all_reduce(torch.zeros(3))
    except PeerLost as lost:
        return str(lost)


def fail_by_itself(rank, world):
    import torch

    from tsal_dist.dist.groups import RoleGroup, losing_peers

    try:
        with losing_peers(RoleGroup("student", rank, world, torch.device("cpu"))):
            torch.zeros(2) @ torch.zeros(3)
    except RuntimeError as error:
        return type(error).__name__


def test_a_collective_that_loses_a_peer_says_so_in_one_sentence():
    message, _ = run_ranks(lose_the_other, 2)
    assert message.startswith("student 0 of 2 lost another rank of its role")
    assert "by peer" in message, "closed or reset, as the moment has it"
    assert "gloo" not in message


def test_a_defect_is_not_taken_for_a_lost_peer():
    assert run_ranks(fail_by_itself, 1) == ["RuntimeError"]


def test_roles_do_not_wait_for_each_other(tmp_path):
    *students, teacher = run_ranks(talk_within_the_role, 3, tmp_path, group=False)
    assert students == [("student", rank, 2, "2", 3) for rank in (0, 1)]
    assert teacher == ("teacher", 0, 1, "1", 3)


def test_without_torchrun_the_first_process_serves_the_store(tmp_path):
    """As where srun or mpirun sets the variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": port}
    *students, teacher = run_ranks(talk_within_the_role, 3, tmp_path, group=False, env=env)
    assert [row[:3] for row in students] == [("student", rank, 2) for rank in (0, 1)]
    assert teacher[:3] == ("teacher", 0, 1)


def test_a_single_process_needs_no_torchrun():
    assert run_ranks(join_alone, 1, group=False, env={"RANK": "0"}) == [(0, 1, "cpu", False)]


def test_nothing_is_opened_by_a_process_that_was_asked_to_leave():
    import torch.distributed as dist

    from tsal_dist.dist.environment import Environment
    from tsal_dist.dist.groups import in_turn
    from tsal_dist.dist.shutdown import StopFlag
    from tsal_dist.errors import AskedToLeave

    stop, store = StopFlag(), dist.HashStore()
    stop.request("SIGTERM")
    for rank in (0, 1):
        with pytest.raises(AskedToLeave), in_turn(Environment(rank=rank, world=2), store, 30, stop):
            pytest.fail("it went on")


@pytest.mark.slow
def test_a_restart_by_torchrun_starts_afresh(tmp_path):
    """The agent's store still holds the keys of the first attempt; the second must not meet them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=3"]
    command += [
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0",
        "--max-restarts=1",
        "--monitor-interval=0.1",
    ]
    command += [str(ROOT / "tests/dist/restart_worker.py"), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    wrote = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert wrote == {
        f"{attempt}-{seat}": text
        for attempt in (0, 1)
        for seat, text in {"student-0": "2 3", "student-1": "2 3", "teacher-0": "1 3"}.items()
    }
