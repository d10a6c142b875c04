"""Waiting for keys in a store, for as long as nobody asks this process to stop: a wait inside the store hears no signal."""

import time
from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from tsal_dist.dist.shutdown import StopFlag

LISTEN_EVERY_S = 1.0


def wait_for_keys(store: Store, keys: Sequence[str], timeout_s: float, stop: StopFlag) -> list[str]:
    """The keys that are still missing after `timeout_s`, or when this process was asked to stop; [] as soon as all are there."""
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            store.wait(list(keys), timedelta(seconds=min(LISTEN_EVERY_S, max(left_s, 0.001))))
        except dist.DistStoreError:
            if left_s <= 0 or stop.requested:
                return [key for key in keys if not store.check([key])]
        else:
            return []
