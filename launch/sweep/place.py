"""What a trial takes of the cluster: what the sweep file says, and for the rest what runs and what there is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from launch.process_plan import Load, load_of
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.errors import ConfigError

Node = Mapping[str, float]
"""One node's resources, in Ray's words."""


def fit_plan(plan: SweepPlan, nodes: Sequence[Node], allocated: bool = False) -> SweepPlan:
    """The plan with its bundles decided. Nothing is taken for granted of a cluster that has no nodes yet.

    `allocated`: the cluster is a job of this sweep's own, and what it does not use nobody can.
    """
    place, most_gpus = plan.file.place, max((int(node.get("GPU", 0)) for node in nodes), default=0)
    if place.gpus_per_proc is not None:
        gpus = plan.procs * place.gpus_per_proc
    else:
        # One for each process; where no machine has so many, they share those of one.
        gpus = float(min(plan.procs, most_gpus))
    if allocated and most_gpus and not gpus:
        raise ConfigError(
            f"place.gpus_per_proc is 0, and the nodes of this job have {most_gpus} GPUs each, which nobody could use. "
            f"Leave the setting out, or submit the job without GPUs."
        )
    return replace(plan, bundle_cpus=_cpus(plan, nodes, gpus), bundle_gpus=gpus)


def describe_place(plan: SweepPlan) -> str:
    """What a trial asks for, as far as it is known before there is a cluster."""
    place, load = plan.file.place, _load(plan)
    gpus = (
        "a GPU for each where there are any"
        if place.gpus_per_proc is None
        else f"{place.gpus_per_proc:g} GPU for each"
    )
    cpus = (
        f"{plan.procs * place.cpus_per_proc:g} CPUs"
        if place.cpus_per_proc
        else f"{load.cores} CPUs, or a node's share of fewer"
    )
    return f"{place.nodes} x ({load.describe()}; {gpus}; {cpus}), {place.strategy}"


def threads_of(plan: SweepPlan) -> int:
    """Threads of each training process: the cores that readers leave."""
    return max(1, int(plan.bundle_cpus - _load(plan).readers) // plan.procs)


def _cpus(plan: SweepPlan, nodes: Sequence[Node], gpus: float) -> float:
    """What runs, or as much of a node as goes with the GPUs: half of its GPUs, half of its cores."""
    if plan.file.place.cpus_per_proc:
        return plan.procs * plan.file.place.cpus_per_proc
    shares = [
        node["CPU"] * (gpus / node["GPU"] if gpus else 1.0)
        for node in nodes
        if node.get("CPU") and node.get("GPU", 0) >= gpus
    ]
    wanted = float(_load(plan).cores)
    share = max(shares, default=wanted)
    return min(wanted, float(int(share)) if share >= 1 else share)


def _load(plan: SweepPlan) -> Load:
    """Of one bundle: in `detached` the crews of both roles may share it."""
    loads = [load_of(plan.config, crew) for crew in plan.trial_crews(plan.config)]
    one_bundle = sum(load.procs for load in loads) <= plan.procs
    readers = [load.readers for load in loads]
    return Load(plan.procs, sum(readers) if one_bundle else max(readers))
