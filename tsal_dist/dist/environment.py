"""The process environment, read once: the only file of the library that touches `os.environ`.

torchrun sets RANK, WORLD_SIZE and their relatives; Slurm and Kubernetes add hints about the job. They become
one frozen value, and nobody else looks. The one thing written back is the seat of this process in its ROLE,
for libraries that read RANK and WORLD_SIZE on their own (DeepSpeed, webdataset): without it they would
believe in a world that spans both roles.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from tsal_dist.errors import TopologyError

# glibc hands every freed image of about 2.7 MB (720p) back to the kernel and faults it in again, which costs
# a decoding process a third of its speed. The allocator reads these before main(), so a launcher has to set
# them: here they would come too late.
MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "268435456"}


@dataclass(frozen=True)
class Environment:
    """Where this process is, as its launcher told it."""

    rank: int = 0
    """Among all processes that torchrun started, whatever their role."""
    world: int = 1
    local_rank: int = 0
    """Among those on this machine."""
    local_world: int = 1
    master_addr: str = ""
    """Host and port of torchrun's own key-value store; empty when started without torchrun."""
    master_port: int = 0
    agent_store: bool = False
    """True where that store outlives the workers because torchrun's agent serves it."""
    restart_count: int = 0
    """How often torchrun has restarted the workers."""
    scheduler: str = ""
    """"slurm", "k8s" or "" for none that was recognised."""
    malloc_tuned: bool = False
    """True if the launcher has set MALLOC_SETTINGS or chosen values of its own."""

    @property
    def launched(self) -> bool:
        """Whether torchrun (or something that sets the same variables) started this process."""
        return bool(self.master_addr)


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """The environment as a value; `variables` stands in for the real one in tests."""
    source = os.environ if variables is None else variables
    launched = "RANK" in source and "WORLD_SIZE" in source
    if launched and not ("MASTER_ADDR" in source and "MASTER_PORT" in source):
        raise TopologyError(
            "RANK and WORLD_SIZE are set but MASTER_ADDR and MASTER_PORT are not, so the ranks cannot meet. "
            "Start with torchrun, or unset RANK and WORLD_SIZE to run a single process."
        )
    if launched:
        _refuse_lone_restarts(source)
    scheduler = _read_scheduler(source)
    malloc_tuned = all(name in source for name in MALLOC_SETTINGS)
    if not launched:
        return Environment(scheduler=scheduler, malloc_tuned=malloc_tuned)
    return Environment(
        rank=_read_int(source, "RANK", 0),
        world=_read_int(source, "WORLD_SIZE", 1),
        local_rank=_read_int(source, "LOCAL_RANK", 0),
        local_world=_read_int(source, "LOCAL_WORLD_SIZE", 1),
        master_addr=source["MASTER_ADDR"],
        master_port=_read_int(source, "MASTER_PORT", 0),
        agent_store=source.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        restart_count=_read_int(source, "TORCHELASTIC_RESTART_COUNT", 0),
        scheduler=scheduler,
        malloc_tuned=malloc_tuned,
    )


def child_environment(
    settings: Mapping[str, str], defaults: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """What a launcher hands to the processes it starts: its own environment and MALLOC_SETTINGS.

    `settings` win over what the user has set, `defaults` do not.
    """
    return {**MALLOC_SETTINGS, **defaults, **os.environ, **settings}


def error_file() -> str:
    """Where torchrun looks for the word of a worker that fails: it ends its own report with it. "" without torchrun."""
    return os.environ.get("TORCHELASTIC_ERROR_FILE", "")


def present_role(rank: int, world: int, device_index: int) -> None:
    """Show libraries that read the environment this process's seat in its role, not in torchrun's world."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(device_index))


def take_seat(variables: Mapping[str, str]) -> None:
    """Be from now on what a launcher that sets these has started."""
    os.environ.update(variables)


def select_deepspeed_device(kind: str) -> None:
    """Tell DeepSpeed which accelerator to use ("cpu" or "cuda"): by itself it prefers any GPU it can see."""
    os.environ["DS_ACCELERATOR"] = kind


def extensions_folder() -> str:
    """Where torch compiles what DeepSpeed needs; "" for the place of its own choice."""
    return os.environ.get("TORCH_EXTENSIONS_DIR", "")


def advise(settings: Mapping[str, str]) -> None:
    """Set what a library reads from the environment when it is imported, unless the user has set it."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)


@contextmanager
def advised(settings: Mapping[str, str]) -> Iterator[None]:
    """As `advise`, for this process and those that it starts in the block; afterwards nothing of it is left."""
    new = [name for name in settings if name not in os.environ]
    advise(settings)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def find_on_path(folder: str) -> None:
    """Let child processes find programs in `folder`: an unactivated venv's own are not on the path."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if folder not in folders:
        os.environ["PATH"] = os.pathsep.join([*folders, folder])


def _refuse_lone_restarts(source: Mapping[str, str]) -> None:
    """Several agents of torchrun count their restarts each for itself: the ranks of one attempt would look for each other
    in the keys of different ones, and wait."""
    most = _read_int(source, "TORCHELASTIC_MAX_RESTARTS", 0)
    if most and _read_int(source, "WORLD_SIZE", 1) > _read_int(source, "LOCAL_WORLD_SIZE", 1):
        raise TopologyError(
            f"torchrun was started with --max-restarts {most} on several machines, which do not count restarts together, "
            f"so their ranks would not meet again. Leave it out, and have a scheduler or `--resume` start all again."
        )


def _read_scheduler(source: Mapping[str, str]) -> str:
    if "SLURM_JOB_ID" in source:
        return "slurm"
    return "k8s" if "KUBERNETES_SERVICE_HOST" in source else ""


def _read_int(source: Mapping[str, str], name: str, default: int) -> int:
    text = source.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise TopologyError(
            f"The environment variable {name} is {text!r}, which is not a whole number. It is torchrun's to set; "
            f"do not set it by hand."
        ) from None
