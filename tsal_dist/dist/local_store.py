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
