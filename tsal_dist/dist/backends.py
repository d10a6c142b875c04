"""Which backend a role speaks, agreed by its own processes: each says in the role's store what it computes on.

NCCL refuses two ranks on one device, and it would find out in the middle of the first collective. gloo does not mind,
so tests and small machines can share a GPU. Even with NCCL small facts travel as CPU tensors over gloo and never wait
for the device.
"""

from collections.abc import Sequence

import torch
from torch.distributed.distributed_c10d import Store

from tsal_dist.dist.shutdown import OTHER_RANK, StopFlag
from tsal_dist.dist.waiting import wait_for_keys
from tsal_dist.errors import PeerLost, TopologyError

GLOO, NCCL = "gloo", "cpu:gloo,cuda:nccl"
CPU = "cpu"
JOIN, LEAVE = "join", "leave"
"""What the first rank that can tell decides for its role."""


def agree_on_backend(
    role: str, store: Store, rank: int, world: int, place: str, timeout_s: float, stop: StopFlag
) -> str:
    """The backend for all ranks of the role, from where each of them computes. Every rank calls it.

    Raises AskedToLeave on every rank or on none: whoever went on alone would wait for the others while the group is made,
    where no signal is heard.
    """
    keys = [f"place/{other}" for other in range(world)]
    store.set(keys[rank], place)
    missing = wait_for_keys(store, keys, timeout_s, stop)
    if missing and not stop.requested:
        ranks = ", ".join(key.rpartition("/")[2] for key in missing)
        raise PeerLost(
            f"{role} {rank} of {world} waited {timeout_s:g} s for rank(s) {ranks} to join the role. Look at the end of "
            f"their logs."
        )
    if store.compare_set("together", "", LEAVE if missing else JOIN) == LEAVE.encode():
        stop.request(OTHER_RANK)
        stop.leave_if_asked()
    return choose_backend(role, [store.get(key).decode() for key in keys])


def choose_backend(role: str, places: Sequence[str]) -> str:
    """The backend for ranks that compute at these places; CPU, or the name of a GPU that no other GPU has."""
    on_cpu = [rank for rank, place in enumerate(places) if place == CPU]
    if on_cpu and len(on_cpu) < len(places):
        raise TopologyError(
            f"{len(on_cpu)} of {len(places)} {role} ranks see no GPU (rank {on_cpu[0]} is the first) and the others do. One "
            f"role computes on one kind of device: check the driver there, or hide the GPUs (CUDA_VISIBLE_DEVICES=)."
        )
    return NCCL if not on_cpu and len(set(places)) == len(places) else GLOO


def name_place(device: torch.device) -> str:
    """Where a rank computes, told apart from any other place on any machine."""
    return CPU if device.type == "cpu" else str(torch.cuda.get_device_properties(device).uuid)
