"""The Ray cluster a sweep runs on: joined or made, quiet, and checked for room before anything waits for it."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from launch.sweep.crews import leave_s
from launch.sweep.place import fit_plan
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.dist.environment import read_environment
from tsal_dist.dist.ray_cluster import join_ray
from tsal_dist.errors import ConfigError, TopologyError

logger = logging.getLogger("launch.sweep")

POLL_S = 1.0


def ray_settings(plan: SweepPlan) -> dict[str, str]:
    """What Ray reads from the environment when it is imported, here and in every process it starts."""
    return {
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


def join_cluster(plan: SweepPlan, address: str) -> AbstractContextManager[None]:
    """Ray, for the length of a sweep."""
    return join_ray(address, "--address", "A sweep", "tune", ray_settings(plan))


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
