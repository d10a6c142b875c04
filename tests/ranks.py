"""Real ranks for tests: `run_ranks(fn, world)` runs `fn(rank, world, *args)` in processes that talk over gloo.

The parent plays torchrun: it hosts the store and sets the variables that torchrun sets. `fn` and its results
cross a process border, so `fn` is a module-level function and results are plain values or CPU tensors.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

# Processes fork from one clean server that has imported torch already: a rank starts in milliseconds, and
# no thread of the test process is ever forked.
CONTEXT = multiprocessing.get_context("forkserver")
# Optimisers and DDP would import torch._dynamo, and pyarrow pandas, which takes longer than a test, in every rank.
CONTEXT.set_forkserver_preload(
    ["torch.nn.parallel", "torch._dynamo", "pandas", "pytest", "tsal_dist.runs.process"]
)
FAILED = 70  # exit code of a rank whose traceback was reported


class RankFailed(AssertionError):
    """A rank raised, died or was silent: its traceback, the first one in time."""


def run_ranks(
    fn: Callable[..., Any],
    world: int = 2,
    *args: Any,
    group: bool = True,
    timeout_s: float = 60.0,
    env: Mapping[str, str] | None = None,
) -> list[Any]:
    """What `fn(rank, world, *args)` returned, by rank. With `group`, a default process group is up before.

    The first rank to fail ends all of them and its traceback is raised; so does the deadline.
    """
    from tsal_dist.dist.local_store import seat, serve_store  # here: not every test needs torch

    store = serve_store()
    pipes, processes = [], []
    for rank in range(world):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        own = {**seat(rank, world, store.port), "OMP_NUM_THREADS": "1", **(env or {})}
        process = CONTEXT.Process(target=_rank, args=(theirs, fn, rank, world, args, group, timeout_s, own))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return _collect(pipes, processes, timeout_s)
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()
        for pipe in pipes:
            pipe.close()


def _collect(pipes: list[Any], processes: list[Any], timeout_s: float) -> list[Any]:
    results: dict[int, Any] = {}
    deadline = time.monotonic() + timeout_s
    while len(results) < len(pipes):
        awaited = {pipe: rank for rank, pipe in enumerate(pipes) if rank not in results}
        ready = multiprocessing.connection.wait(list(awaited), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankFailed(f"ranks {sorted(awaited.values())} were not done after {timeout_s:g} s")
        for pipe in ready:
            rank = awaited[pipe]
            try:
                ok, value = pickle.loads(pipe.recv_bytes())
            except EOFError:
                raise RankFailed(_describe_death(rank, processes[rank])) from None
            if not ok:
                # The loss of a peer raises here too: if one has just died, that is the cause.
                for other in awaited.values():
                    processes[other].join(0.0 if other == rank else 0.2)
                    if processes[other].exitcode not in (None, 0, FAILED):
                        raise RankFailed(_describe_death(other, processes[other]))
                raise RankFailed(f"rank {rank} raised:\n{value}")
            results[rank] = value
    # Only now may a rank leave: one that goes early would look like a lost peer to the others.
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    return [results[rank] for rank in range(len(pipes))]


def _describe_death(rank: int, process: Any) -> str:
    process.join()
    return f"rank {rank} died with exit code {process.exitcode}"


def _rank(pipe, fn, rank, world, args, group, timeout_s, variables) -> None:
    os.environ.update(variables)
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    try:
        if group:
            _join(rank, world, timeout_s)
        value = fn(rank, world, *args)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
        _report(pipe, False, traceback.format_exc())
        os._exit(FAILED)  # a peer that hangs in a collective must not keep this rank from reporting
    _report(pipe, True, value)
    if dist.is_initialized():
        dist.destroy_process_group()


def _report(pipe: Any, ok: bool, value: Any) -> None:
    # By value: the pipe's own pickler would pass tensors as handles into a process that is about to end.
    pipe.send_bytes(pickle.dumps((ok, value)))


def _join(rank: int, world: int, timeout_s: float) -> None:
    from datetime import timedelta

    import torch.distributed as dist

    limit = timedelta(seconds=timeout_s)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=limit)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=limit)
