"""Machines at a distance: a Ray actor in every bundle of this trial's placement group, called with deadlines."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import get_current_placement_group, get_node_ip_address
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from launch.sweep.machine import Machine
from launch.sweep.trial_plan import SweepPlan

START_S = 120.0
"""How long an actor may take to come up where its resources are already held."""
CALL_S = 60.0
"""How long a machine may take to answer: it only starts and looks after processes."""


class _MachineActor(Machine):
    """A machine that knows where it is."""

    def address(self) -> str:
        return str(get_node_ip_address())


class RemoteMachine:
    """One of the trial's machines. Every call raises RayError once it is gone."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.address = ""

    def arrive(self) -> None:
        """Wait until it is up."""
        self.address = ray.get(self._actor.address.remote(), timeout=START_S)

    def free_port(self) -> int:
        return int(self._call("free_port"))

    def start(self, name: str, words: Sequence[str], log: Path, settings: dict[str, str]) -> int:
        return int(self._call("start", name, words, log, settings))

    def poll(self) -> dict[str, int | None]:
        codes: dict[str, int | None] = self._call("poll")
        return codes

    def _call(self, name: str, *words: Any) -> Any:
        return ray.get(getattr(self._actor, name).remote(*words), timeout=CALL_S)

    def end_soon(self, patience_s: float) -> Any:
        """Begin to end its crews; several machines end at the same time."""
        return self._actor.end.remote(patience_s)

    def leave(self, ended: Any, patience_s: float) -> None:
        """Wait for what `end_soon` began, then give the machine back."""
        # One that is gone has taken its processes along.
        with suppress(RayError):
            ray.get(ended, timeout=patience_s + CALL_S)
        ray.kill(self._actor)


def take_machines(plan: SweepPlan) -> list[RemoteMachine]:
    """One machine per bundle; `arrive` waits for each."""
    group = get_current_placement_group()
    found = []
    for index, bundle in enumerate(plan.bundles):
        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        actor = ray.remote(_MachineActor).options(
            num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), scheduling_strategy=where
        )
        found.append(RemoteMachine(actor.remote(plan.root, plan.folder)))
    return found


def end_machines(machines: Sequence[RemoteMachine], patience_s: float) -> None:
    """End everything that was started on any of them."""
    pending = [machine.end_soon(patience_s) for machine in machines]
    for machine, ended in zip(machines, pending, strict=True):
        machine.leave(ended, patience_s)
