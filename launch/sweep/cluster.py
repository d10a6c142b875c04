"""The Ray cluster a sweep runs on: joined or made, quiet, and checked for room before anything waits for it."""

import logging
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launch.sweep.crews import leave_s
from launch.sweep.place import fit_plan
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.dist.environment import advise, read_environment
from tsal_dist.errors import ConfigError, MissingExtra, TopologyError

logger = logging.getLogger("launch.sweep")

POLL_S = 1.0
CONNECT_S = 10.0
STORE_BYTES = 100 * 1024 * 1024
"""Of a cluster of our own: only plans and notes pass through its object store."""
# Ray appends up to 60 characters to this, and a socket's path may have 107.
LONGEST_FOLDER = 40


def ray_settings(plan: SweepPlan) -> dict[str, str]:
    """What Ray reads from the environment when it is imported, here and in every process it starts."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Paths in configs count from the repository's root.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # A trial without GPUs must not see any.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        # Our own files say more than these would.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        # Saving and leaving takes its time; only what takes longer is killed.
        "TUNE_FORCE_TRIAL_CLEANUP_S": str(round(leave_s(plan.config)) + 60),
    }


@contextmanager
def join_cluster(plan: SweepPlan, address: str) -> Iterator[None]:
    """Ray, for the length of a sweep: "local" makes a cluster of this machine, anything else joins one."""
    advise(ray_settings(plan))
    if address == "local":
        # Whoever reaches a Ray cluster can run anything on it. By itself Ray would keep a secret at home.
        advise({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "tune", "A sweep") from None
    _check_address(address)
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    folder = None
    if address == "local":
        folder = _short_folder()
        words |= {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_temp_dir": str(folder)}
    try:
        ray.init(address, **words)
    except ConnectionError as error:
        raise _no_cluster(address, error) from None
    except ray.exceptions.AuthenticationError:
        raise ConfigError(
            f"The Ray cluster at --address {address} wants its token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to "
            f"what its nodes were started with."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _check_address(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"There is no Ray cluster at --address {address} ({error}). Start one with `ray start --head`, or use "
        f"--address local."
    )


def wait_for_room(plan: SweepPlan, wait_s: float) -> SweepPlan:
    """The plan, fitted to the cluster, once that can hold one trial; TopologyError where it cannot after `wait_s`."""
    allocated = read_environment().scheduler == "slurm"
    deadline = time.monotonic() + wait_s
    while True:
        nodes = list_nodes()
        fitted = fit_plan(plan, nodes, allocated)
        if room(fitted):
            return fitted
        if time.monotonic() >= deadline:
            break
        logger.info("waiting for nodes: there are %d, too few or too small for a trial", len(nodes))
        time.sleep(POLL_S)
    have = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes) or "none"
    bundle = fitted.bundles[0]
    raise TopologyError(
        f"A trial needs {len(fitted.bundles)} bundles of {bundle['CPU']:g} CPUs and {bundle.get('GPU', 0):g} GPUs "
        f"({plan.file.place.strategy}), and the cluster's nodes have: {have}. Add nodes, lower place.nodes, "
        f"place.procs_per_node, place.cpus_per_proc or place.gpus_per_proc, or wait for nodes that come later with "
        f"--wait-s."
    )


def fit_unseen(plan: SweepPlan) -> SweepPlan:
    """The plan for nodes that come only when they are asked for: what they will have, the sweep has to say."""
    if plan.file.place.gpus_per_proc is None:
        raise ConfigError(
            "place.gpus_per_proc is not set, and with --autoscaling there may be no node yet to see GPUs on. Say "
            "--gpus-per-proc 1, or 0 for trials on CPUs."
        )
    return fit_plan(plan, list_nodes())


def list_nodes() -> list[dict[str, float]]:
    """The resources of every node that lives."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def room(plan: SweepPlan) -> int:
    """How many trials the cluster could hold at a time, if nobody else were on it."""
    return count_trials(plan.bundles, list_nodes(), plan.file.place.strategy)


def count_trials(
    bundles: Sequence[Mapping[str, float]], nodes: Sequence[Mapping[str, float]], strategy: str
) -> int:
    """How many trials empty nodes could hold; the bundles of one are all alike."""
    need = bundles[0]
    each = [
        min(int(node.get(name, 0) / amount + 1e-6) for name, amount in need.items() if amount)
        for node in nodes
    ]
    if strategy == "STRICT_PACK":
        return sum(count // len(bundles) for count in each)
    if strategy == "STRICT_SPREAD":
        trials = 0
        # Always from the fullest shelves: that leaves the most for the next.
        while sum(count > 0 for count in each) >= len(bundles):
            each.sort(reverse=True)
            each[: len(bundles)] = [count - 1 for count in each[: len(bundles)]]
            trials += 1
        return trials
    return sum(each) // len(bundles)


def _short_folder() -> Path:
    """A folder for Ray's sockets and logs, which goes with the cluster."""
    folder = Path(tempfile.gettempdir())
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="ray-", dir=folder))
