"""Which machine runs how many processes of which role, decided before anything starts.

A crew is the processes of one torchrun world. `split` is one crew in which both roles sit; `detached` is one
crew of students and one or several of teachers. Whatever does not fit is an error here, in the terminal of the person who submits, and not an
hour later in a queue.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tsal_dist.config import RunConfig
from tsal_dist.dist.topology import Seat, assign_roles, plan_seats
from tsal_dist.errors import ConfigError, TopologyError
from tsal_dist.planning.demand import streams_of
from tsal_dist.run_dir import CREW, ROLES, role_in_files

TRAIN = "tsal_dist.train"
AMONG_MACHINES, ALONE = "torch.distributed.run", "tsal_dist.dist.loopback"
"""torchrun; on one machine with a store that no other one can reach."""


@dataclass(frozen=True)
class Crew:
    """`procs` processes on each of `nodes` machines in a row."""

    role: str
    """The one role it was started for, or "" where its ranks are divided into roles."""
    plays: tuple[str, ...]
    """The roles in it; their exit notes tell how it ended."""
    first_node: int
    nodes: int
    procs: int
    first_proc: int = 0
    """How many processes of other crews come before its own on a machine; GPUs are dealt in that order."""
    name: str = ""
    """Which of several crews of teachers it is; the first one has no name."""

    @property
    def in_files(self) -> str:
        """What files call its role; "" where its ranks are divided into roles."""
        return role_in_files(self.role, self.name)


@dataclass(frozen=True)
class Meeting:
    """Where the machines of a crew find each other, and which of them this is; moot where there is one."""

    node_rank: int = 0
    address: str = ""
    port: int = 0


@dataclass(frozen=True)
class Load:
    """What runs on the busiest machine of a crew."""

    procs: int
    readers: int
    """Processes that read and decode for them: data.workers for each of a rank's streams."""

    @property
    def cores(self) -> int:
        return self.procs + self.readers

    def describe(self) -> str:
        readers = f", {self.readers} readers of clips" if self.readers else ", which read clips themselves"
        return f"{self.procs} training process{'es' if self.procs > 1 else ''}{readers}"


def load_of(config: RunConfig, crew: Crew) -> Load:
    """What a crew's machines must have room for."""
    if crew.role or config.runtime.topology == "inline":
        machines = [[crew.role or "inline"] * crew.procs]
    else:
        seats = plan_seats(config.runtime, crew.nodes * crew.procs, crew.procs, config.has_teacher)
        roles = [seat.role for seat in seats]
        machines = [roles[first : first + crew.procs] for first in range(0, len(roles), crew.procs)]
    readers = max(sum(streams_of(config, role) for role in machine) for machine in machines)
    return Load(crew.procs, readers * config.data.workers)


def default_procs(config: RunConfig) -> int:
    """The fewest processes that fill every role of the config."""
    runtime = config.runtime
    if runtime.topology == "inline" or not config.has_teacher:
        return 1
    return int(runtime.teachers) + 1 if runtime.teachers.isdigit() else 2


def plan_crews(config: RunConfig, nodes: int, procs_per_node: int, teachers: int = 1) -> tuple[Crew, ...]:
    """The crews that `nodes` machines of `procs_per_node` processes make, the student's first; `teachers` crews of equal
    size teach.

    `detached` divides the processes as `split` does, so the same settings mean the same number of teachers.
    """
    topology, world = config.runtime.topology, nodes * procs_per_node
    if min(nodes, procs_per_node) < 1:
        raise TopologyError(
            f"{nodes} machines of {procs_per_node} processes were asked for. Ask for at least one of each."
        )
    if config.runtime.role:
        raise TopologyError(
            f"runtime.role is {config.runtime.role!r}, but a launcher starts every role. Remove the setting."
        )
    if topology == "inline" and world > 1:
        raise TopologyError(
            f"runtime.topology is 'inline', which runs both roles in one process, but {world} processes were "
            f"asked for. Ask for one, or set runtime.topology=split."
        )
    if teachers != 1 and (topology != "detached" or not config.has_teacher or teachers < 1):
        raise TopologyError(
            f"--crews {teachers} is for teachers that have launches of their own, and runtime.topology is {topology!r}, "
            f"method.name {config.method.name!r}. Set runtime.topology=detached, or leave it out."
        )
    if topology != "detached":
        seats = plan_seats(config.runtime, world, procs_per_node, config.has_teacher)
        roles = {seat.role for seat in seats} if topology == "split" else {"student"}  # inline answers as it
        return (Crew("", tuple(sorted(roles)), 0, nodes, procs_per_node),)
    if not config.has_teacher:
        return (Crew("student", ("student",), 0, nodes, procs_per_node),)
    seats = assign_roles(world, procs_per_node, config.runtime.teachers)
    student, teacher = (_gather(role, seats, procs_per_node) for role in sorted(ROLES))
    return (student, *_divide(teacher, teachers))


def plan_crew(config: RunConfig, name: str, nodes: int, procs_per_node: int) -> Crew:
    """A crew of teachers that joins a run, whoever started that and wherever."""
    if not re.fullmatch(CREW, name):
        raise ConfigError(
            f"--crew is {name!r}. A crew's name is a small letter, and up to seven more letters and digits, such as night."
        )
    if not config.has_teacher:
        raise TopologyError(
            "This recipe has no teacher, so no crew can join. Choose another method (method.name)."
        )
    if config.takes_turns:
        raise TopologyError(
            f"--crew {name}: this run's student takes turns with one teacher (runtime.topology={config.runtime.topology}, "
            f"runtime.lockstep={config.runtime.lockstep}) and meets no other. Start the run as split or detached."
        )
    if min(nodes, procs_per_node) < 1:
        raise TopologyError(
            f"{nodes} machines of {procs_per_node} processes were asked for. Ask for at least one of each."
        )
    return Crew("teacher", (role_in_files("teacher", name),), 0, nodes, procs_per_node, name=name)


def torchrun_command(
    crew: Crew, meeting: Meeting, files: Sequence[str], overrides: Sequence[str], module: str = TRAIN
) -> list[str]:
    """The command that starts a crew's processes on one machine.

    torchrun itself restarts nothing: on several machines its agents would have to agree on it, so whoever
    starts crews starts them again. That makes every start the same: from the last whole
    checkpoint, or anew where there is none.
    """
    torchrun, where = ALONE, []
    if crew.nodes > 1:
        torchrun = AMONG_MACHINES
        where = [
            f"--nnodes={crew.nodes}",
            f"--node-rank={meeting.node_rank}",
            f"--master-addr={meeting.address}",
            f"--master-port={meeting.port}",
        ]
    words = [word for file in files for word in ("--config", file)]
    role = ["runtime.topology=detached", f"runtime.role={crew.role}"] if crew.role else []
    role += [f"runtime.crew={crew.name}"] if crew.name else []
    return [
        *(sys.executable, "-m", torchrun, *where, f"--nproc-per-node={crew.procs}"),
        *("-m", module, "--resume-or-start", *words, *overrides, *role),
    ]


def crew_settings(
    config: RunConfig, crew: Crew, visible_gpus: Sequence[str] = (), interface: str = ""
) -> dict[str, str]:
    """Environment variables that a crew needs, beside those that only tune."""
    # torchrun's own patience after SIGTERM is 30 s, too short for a checkpoint. Older torch ignores this.
    settings = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(round(config.runtime.deadlines.shutdown_s))}
    if interface:
        settings |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    if visible_gpus and crew.first_proc:
        # Every crew counts its local ranks from 0, so two on one machine would all take the same GPUs.
        ours = [visible_gpus[(crew.first_proc + proc) % len(visible_gpus)] for proc in range(crew.procs)]
        settings["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(ours))
    return settings


def alone_settings(crew: Crew) -> dict[str, str]:
    """What a crew that sits on one machine is told unless the user says otherwise: its ranks talk where only they hear it."""
    return {"GLOO_SOCKET_IFNAME": "lo"} if crew.nodes == 1 and sys.platform == "linux" else {}


def _gather(role: str, seats: Sequence[Seat], procs_per_node: int) -> Crew:
    """The crew of `role`: one torchrun wants the same number of processes on every machine it runs on."""
    machines = [seats[first : first + procs_per_node] for first in range(0, len(seats), procs_per_node)]
    counts = [sum(seat.role == role for seat in machine) for machine in machines]
    taken = [node for node, count in enumerate(counts) if count]
    if not taken:
        raise TopologyError(
            f"runtime.topology is 'detached', but runtime.teachers leaves no {role} among {len(seats)} processes. "
            f"Set runtime.teachers to 1 or more."
        )
    if len(set(counts) - {0}) > 1:
        raise TopologyError(
            f"runtime.teachers puts {', '.join(map(str, counts))} processes of the {role} on the machines, and one "
            f"torchrun needs the same number on each. Use {procs_per_node} teachers or a multiple of it, 'node', or "
            f"runtime.topology=split."
        )
    first_proc = [seat.role for seat in machines[taken[0]]].index(role)
    return Crew(role, (role,), taken[0], len(taken), counts[taken[0]], first_proc)


def _divide(teacher: Crew, crews: int) -> list[Crew]:
    """So many crews of equal size out of one: of its machines, or of the processes on each."""
    on_each = max(1, crews // teacher.nodes)
    nodes, procs = max(1, teacher.nodes // crews), teacher.procs // on_each
    if nodes * procs * crews != teacher.nodes * teacher.procs:
        raise TopologyError(
            f"--crews {crews}: the teacher has {teacher.procs} processes on each of {teacher.nodes} machines, which do not "
            f"divide into so many equal crews. Choose another number, or let crews of other sizes join by --crew NAME."
        )
    found = []
    for number in range(crews):
        name = f"c{number + 1}" if number else ""
        node, place = number * nodes, 0
        if on_each > 1:
            node, place = divmod(number, on_each)
        plays, first = (role_in_files("teacher", name),), teacher.first_proc + place * procs
        found.append(Crew("teacher", plays, teacher.first_node + node, nodes, procs, first, name))
    return found
