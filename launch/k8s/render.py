"""A run as Kubernetes objects: a ConfigMap and a headless Service, and one indexed Job per crew."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launch.process_plan import Crew, load_of
from launch.template import fill_template
from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.run import run_folder

HERE = Path(__file__).parent
CONFIG_MOUNT = PurePosixPath("/config")
PORT = 29500
STARTUP_PERIOD_S = 15
# A pod's host name is a DNS label of 63 characters: the run's name, the role, the pod's number.
LONGEST_NAME = 40


@dataclass(frozen=True)
class K8sRequest:
    """What is asked of Kubernetes, beside what the config says."""

    image: str
    with_gpus: bool
    """One for each process."""
    cores_per_proc: int
    """0 asks for what runs."""
    memory: str
    shm: str
    claim: str
    restarts: int


def mount_name(number: int, file: str) -> str:
    """Where a config file lies in the container; the number keeps equal names apart."""
    return f"{number}-{re.sub(r'[^-._a-zA-Z0-9]', '-', Path(file).name)}"


def object_name(config: RunConfig) -> str:
    """The run's name as Kubernetes allows it."""
    name = re.sub(r"[^a-z0-9-]+", "-", config.run.name.lower()).strip("-")
    if not re.match("[a-z]", name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"run.name is {config.run.name!r}, which makes the Kubernetes name {name!r}. Choose one that begins with "
            f"a letter and has at most {LONGEST_NAME} letters, digits and hyphens."
        )
    return name


def render_objects(
    config: RunConfig,
    files: Sequence[str],
    crews: Sequence[Crew],
    words: Sequence[Sequence[str]],
    request: K8sRequest,
) -> str:
    """The YAML text; `words` are launch.crew's for each crew, without what only Kubernetes knows."""
    if run_folder(config).parts[:1] != ("runs",):
        raise ConfigError(
            f"run.dir is {config.run.dir!r}, and the cluster's volume is mounted at runs/ and shards/. Leave run.dir "
            f"empty, or choose a folder below runs/."
        )
    contents = {mount_name(number, file): Path(file).read_text() for number, file in enumerate(files)}
    blocks = [f"{name}: |\n{_indent(text)}" for name, text in contents.items()]
    shared = fill_template(HERE / "run.yaml", {"name": object_name(config), "files": "\n".join(blocks)})
    jobs = [_render_job(config, crew, own, request) for crew, own in zip(crews, words, strict=True)]
    return "---\n".join([shared, *jobs])


def _render_job(config: RunConfig, crew: Crew, words: Sequence[str], request: K8sRequest) -> str:
    limits, name = config.runtime.deadlines, object_name(config)
    job = f"{name}-{crew.role or 'world'}"
    address = [f"--address={job}-0.{name}", f"--port={PORT}"] if crew.nodes > 1 else []
    command = ["python", "-m", "launch.crew", *address, *words, f"run.name={config.run.name}"]
    probe = ["python", "-m", "launch.health_probe", str(run_folder(config)), f"--silent-s={limits.group_s:g}"]
    resources: Mapping[str, object] = {
        "cpu": crew.procs * request.cores_per_proc or load_of(config, crew).cores,
        "memory": request.memory,
    }
    if request.with_gpus:
        # Crews that would share a machine in other places are pods of their own here, each with its own GPUs.
        resources = {**resources, "nvidia.com/gpu": crew.procs}
    values = {
        "name": name,
        "job": job,
        "nodes": crew.nodes,
        "backoff_limit": request.restarts * crew.nodes,
        "grace_s": round(limits.grace_s),
        "image": json.dumps(request.image),
        "command": "\n".join(f"- {json.dumps(word)}" for word in command),
        "probe": json.dumps(probe),
        "resources": json.dumps(resources),
        # Machines may wait for each other, then the roles for one another.
        "startup_failures": round(2 * limits.group_s / STARTUP_PERIOD_S) + 1,
        "claim": request.claim,
        "shm": request.shm,
    }
    return fill_template(HERE / "job.yaml", values)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines())
