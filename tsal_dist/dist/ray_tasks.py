"""Parts of one work as tasks of a Ray cluster that was joined (`ray_cluster`); a part that dies with its node is done elsewhere."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tsal_dist.errors import ConfigError, DataError

Shared = TypeVar("Shared")
Part = TypeVar("Part")
Result = TypeVar("Result")

RETRIES = 5
"""How often a part is begun anew when its process or its node dies. One that ends with an error is not."""


def count_resource(name: str) -> float:
    """How much the nodes of the cluster have of "CPU" or "GPU" now."""
    import ray

    return float(ray.cluster_resources().get(name, 0))


def run_tasks(
    work: Callable[[Shared, Part], Result],
    shared: Shared,
    parts: Sequence[Part],
    cpus: float,
    gpus: float = 0,
) -> Iterator[Result]:
    """What `work(shared, part)` gives for every part, as they end; each holds `cpus` and `gpus` of a node while it runs.

    `work` is called in the folder that this process is in, and finds there what an earlier try has finished. A process does
    one part after another, also of those with GPUs, so what `work` caches is kept.
    """
    import ray

    _check_room(cpus)
    how = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": RETRIES, "max_calls": 0}
    task = ray.remote(**how)(_work_here)
    told = ray.put(shared)
    waiting = [task.remote(os.getcwd(), work, told, part) for part in parts]
    while waiting:
        (ended, *_), waiting = ray.wait(waiting)
        yield _result(ended)


def _result(ended: Any) -> Any:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ended)
    except RayTaskError as error:
        raise error.cause from None  # as if it had been raised here: its message says what to do
    except RayError as error:
        raise DataError(
            f"A part was given up after {RETRIES + 1} tries, most likely for want of memory: {str(error).splitlines()[0]} "
            f"Give each more of a machine (--workers, --threads) and run the same command: what is done is kept."
        ) from None


def _check_room(cpus: float) -> None:
    """Ray itself would wait for such a node, and say so in its own log alone."""
    import ray

    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if 0 < most < cpus:
        raise ConfigError(
            f"Each part asks for {cpus:g} CPUs, and no node of the cluster has more than {most:g}. Ask for fewer."
        )


def _work_here(folder: str, work: Callable[[Any, Any], Any], shared: Any, part: Any) -> Any:
    try:
        os.chdir(folder)
    except OSError:
        raise ConfigError(
            f"{socket.gethostname()} does not see {folder}. The folder that the command is given in, what it reads and what "
            f"it writes must lie on a filesystem that every node of the cluster sees, under the same path."
        ) from None
    return work(shared, part)
