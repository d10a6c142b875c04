"""A role's own world: join the default process group of one role, and leave it.

Both roles of one torchrun share its key-value store and nothing else: each initialises the DEFAULT group from
its own prefix of that store. One world with `new_group` would not do: DeepSpeed and others run collectives on
the default group, which would wait for the other role for ever.

The prefix carries the restart count, because torchrun's store outlives the workers that it restarts, and the
keys of the attempt before would hang or mislead the next one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from tsal_dist.dist.backends import NCCL, agree_on_backend, name_place
from tsal_dist.dist.environment import Environment, present_role
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat
from tsal_dist.dist.waiting import wait_for_keys
from tsal_dist.errors import PeerLost

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoleGroup:
    """This process's membership in its role."""

    role: str
    rank: int
    world: int
    device: torch.device


def join_role(
    environment: Environment,
    seat: Seat,
    store: Store,
    timeout_s: float,
    stop: StopFlag,
    use_gpu: bool = True,
) -> RoleGroup:
    """Make the role of `seat` the default process group. Call once, before anything else communicates.

    GPUs are used where there are any, unless `use_gpu` is False. Every collective fails after `timeout_s`. Raises
    AskedToLeave on every rank of the role where one of them was asked to stop before all were there.
    """
    gpus = torch.cuda.device_count() if use_gpu else 0
    device = torch.device("cuda", environment.local_rank % gpus) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    present_role(seat.rank, seat.world, device.index or 0)

    own = PrefixStore(f"role/{seat.name}/{environment.restart_count}", store)
    place = name_place(device)
    backend = agree_on_backend(seat.name, own, seat.rank, seat.world, place, timeout_s, stop)
    dist.init_process_group(
        backend,
        store=own,
        rank=seat.rank,
        world_size=seat.world,
        timeout=timedelta(seconds=timeout_s),
        # NCCL connects here and now, where a failure still names its cause, and barriers need not guess a device.
        device_id=device if backend == NCCL else None,
    )
    logger.info("joined as %s %d of %d on %s with %s", seat.name, seat.rank, seat.world, device, backend)
    return RoleGroup(seat.name, seat.rank, seat.world, device)


@contextmanager
def in_turn(environment: Environment, store: Store, timeout_s: float, stop: StopFlag) -> Iterator[None]:
    """Let torchrun's first process, whatever its role, through the block before all others.

    No collective: the roles have no common group. The others wait for a key in torchrun's store; should the first
    one fail, torchrun ends them, and they would give up after `timeout_s` in any case. Raises AskedToLeave in a process
    that is asked to stop before its turn.
    """
    turns = PrefixStore(f"first/{environment.restart_count}", store)
    if environment.rank == 0:
        stop.leave_if_asked()
        yield
        turns.set("through", "")
        return
    if wait_for_keys(turns, ["through"], timeout_s, stop):
        stop.leave_if_asked()
        raise PeerLost(
            f"Process {environment.rank} waited {timeout_s:g} s for process 0 to open the run. Look at its log."
        )
    yield


@contextmanager
def losing_peers(group: RoleGroup) -> Iterator[None]:
    """Turn a collective's failure within the block into PeerLost: what the backend says of it is a traceback about
    sockets, and the reason lies with the rank that went first."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no class of its own for its errors; they begin with the file that they come from.
        if not isinstance(error, dist.DistError) and "/gloo/" not in str(error):
            raise
        words = str(error).rpartition("] ")[2] if "/gloo/" in str(error) else str(error)
        raise PeerLost(
            f"{group.role} {group.rank} of {group.world} lost another rank of its role in the middle of a collective: "
            f"{words.partition('. ')[0]}. The rank that ended first says why, in its log."
        ) from error


def leave_role() -> None:
    """Tear the group down. Ranks that leave together should meet first."""
    if dist.is_initialized():
        dist.destroy_process_group()


def open_launch_store(environment: Environment, timeout_s: float) -> Store:
    """The key-value store that all processes of a launch share. Open it once: without torchrun it is served from here."""
    if not environment.launched:
        return dist.HashStore()  # type: ignore[attr-defined]
    # Without an agent (torchrun always has one) the first process serves the store for all.
    serves = environment.rank == 0 and not environment.agent_store
    return dist.TCPStore(  # type: ignore[attr-defined]
        environment.master_addr,
        environment.master_port,
        is_master=serves,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
    )
