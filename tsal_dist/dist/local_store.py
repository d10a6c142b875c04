"""The key-value store of a launch on one machine: it listens where only this machine can reach it, and torch's own everywhere."""

import socket
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

ADDRESS = "127.0.0.1"
CONNECT_S = 60.0
BACKLOG = 1024
"""Of processes that may come at once."""


def serve_store() -> TCPStore:
    """A store that is served from here, at ADDRESS and its `port`, for as long as somebody holds it."""
    with socket.create_server((ADDRESS, 0), backlog=BACKLOG) as listener:
        port = listener.getsockname()[1]
        return TCPStore(
            ADDRESS,
            port,
            is_master=True,
            timeout=timedelta(seconds=CONNECT_S),
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
            use_libuv=False,  # the other kind of server takes over no socket in older releases
        )


def seat(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun would tell worker `rank` of `world`, all on this machine, that meet at the store on this `port`."""
    told: dict[str, object] = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": world,
    }
    told |= {"MASTER_ADDR": ADDRESS, "MASTER_PORT": port, "TORCHELASTIC_RESTART_COUNT": 0}
    told |= {"TORCHELASTIC_USE_AGENT_STORE": True}  # it outlives whoever comes and goes
    return {name: str(value) for name, value in told.items()}
