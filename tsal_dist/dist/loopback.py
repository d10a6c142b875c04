"""torchrun for one machine, whose key-value store nobody else can reach: `python -m tsal_dist.dist.loopback <its words>`.

torchrun's own store listens on every interface of the host, whatever address it is told, and asks nobody who they are. Where
all processes sit on one machine it need not: this one is torchrun with a meeting of its own, at an address that only
this machine has.
"""

import sys

import torch.distributed.run
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from tsal_dist.dist.local_store import ADDRESS, serve_store

NAME = "loopback"


class Loopback(RendezvousHandler):
    """The meeting of the only agent there is; its workers use its store."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run_id = parameters.run_id
        self._store: TCPStore | None = None

    @property
    def use_agent_store(self) -> bool:
        return True

    def get_backend(self) -> str:
        return NAME

    def next_rendezvous(self) -> RendezvousInfo:
        # A fresh one for every attempt, as torchrun has it: workers would find the addresses of those before them.
        self._store = serve_store()
        return RendezvousInfo(self._store, 0, 1, RendezvousStoreInfo(ADDRESS, self._store.port))

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        pass

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._run_id

    def shutdown(self) -> bool:
        return True


def main(words: list[str]) -> None:
    """What torchrun does with these words."""
    rendezvous_handler_registry.register(NAME, Loopback)
    torch.distributed.run.main([f"--rdzv-backend={NAME}", f"--rdzv-endpoint={ADDRESS}:0", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
