"""Which rank plays which role: a pure function, so that every rank finds the same answer on its own."""

from dataclasses import dataclass

from tsal_dist.config.runtime import RuntimeConfig
from tsal_dist.errors import TopologyError
from tsal_dist.run_dir import role_in_files


@dataclass(frozen=True)
class Seat:
    """One process's place in its role."""

    role: str
    rank: int
    world: int
    crew: str = ""
    """Which of the teacher's crews it belongs to; "" for the first one, and for a student."""

    @property
    def name(self) -> str:
        """What files call its role."""
        return role_in_files(self.role, self.crew)


def plan_seats(
    runtime: RuntimeConfig, world_size: int, local_world_size: int, has_teacher: bool
) -> tuple[Seat, ...]:
    """The seat of every rank of one torchrun world, for any topology.

    In `inline` every process plays both roles, so its role is "inline"; in `detached` all play the one they were
    started for; a method without a teacher has students only.
    """
    if runtime.topology == "inline":
        return tuple(Seat("inline", rank, world_size) for rank in range(world_size))
    if runtime.topology == "detached":
        if not runtime.role:
            raise TopologyError(
                "runtime.topology is 'detached' and runtime.role is empty, so this process does not know what it "
                "is. Start one torchrun with runtime.role=student and one with runtime.role=teacher, or let "
                "`python -m launch.local` do it."
            )
        if runtime.role == "teacher" and not has_teacher:
            raise TopologyError(
                "This recipe has no teacher. Start the student alone, or choose another method (method.name)."
            )
        return tuple(Seat(runtime.role, rank, world_size, runtime.crew) for rank in range(world_size))
    if not has_teacher:
        return _seat(world_size, set())
    seats = assign_roles(world_size, local_world_size, runtime.teachers)
    if all(seat.role == "student" for seat in seats):
        raise TopologyError(
            f"runtime.teachers is {runtime.teachers!r}, but this recipe needs a teacher. Raise it to 1 or more, or "
            f"set method.name=supervised."
        )
    return seats


def assign_roles(world_size: int, local_world_size: int, spec: str) -> tuple[Seat, ...]:
    """The seat of every rank of one torchrun world, in rank order.

    `spec` is the number of teachers ("2"), their share of the world (".25", rounded, at least one), or "node":
    the last process of every machine. Otherwise the last ranks teach, so that the student, who communicates
    at every step, sits together on the first machines.
    """
    if spec == "node":
        teachers = _last_of_each_node(world_size, local_world_size)
    else:
        count = _count_teachers(world_size, spec)
        if count >= world_size:
            raise TopologyError(
                f"runtime.teachers is {spec!r}, which makes {count} of {world_size} processes teachers and "
                f"leaves no student. Start at least {count + 1} processes (torchrun --nproc-per-node), lower "
                f"runtime.teachers, or set runtime.topology=inline to run both roles in one process."
            )
        teachers = set(range(world_size - count, world_size))
    return _seat(world_size, teachers)


def _count_teachers(world_size: int, spec: str) -> int:
    if spec.isdigit():
        return int(spec)
    try:
        share = float(spec)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise TopologyError(
            f"runtime.teachers is {spec!r}. Use a number of processes (2), a share of them (.25), or 'node' "
            f"for one on every machine."
        )
    return max(1, round(share * world_size))


def _last_of_each_node(world_size: int, local_world_size: int) -> set[int]:
    if world_size % local_world_size:
        raise TopologyError(
            f"runtime.teachers is 'node', but {world_size} processes do not divide into machines of "
            f"{local_world_size}. Start the same number on every machine, or give a number of teachers."
        )
    if local_world_size < 2:
        raise TopologyError(
            "runtime.teachers is 'node', but each machine runs one process, so no student would be left. "
            "Start at least two per machine (torchrun --nproc-per-node 2), or give a number of teachers."
        )
    return {rank for rank in range(world_size) if rank % local_world_size == local_world_size - 1}


def _seat(world_size: int, teachers: set[int]) -> tuple[Seat, ...]:
    worlds = {"teacher": len(teachers), "student": world_size - len(teachers)}
    taken = dict.fromkeys(worlds, 0)
    seats = []
    for rank in range(world_size):
        role = "teacher" if rank in teachers else "student"
        seats.append(Seat(role, taken[role], worlds[role]))
        taken[role] += 1
    return tuple(seats)
