"""A run as Kubernetes objects: its config, and one indexed Job per crew, by themselves or together in a JobSet."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from launch.process_plan import Crew, Load, load_of
from launch.template import NO_STRINGS, fill_template, yaml_word
from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.run import run_folder

HERE = Path(__file__).parent
CONFIG_MOUNT = PurePosixPath("/config")
PORT = 29500
STARTUP_S, PROBE_S = 15, 30
"""Between two probes, while a crew starts and after that."""
# A pod's host name is a DNS label of 63 characters: the run's name, the role, the job's and the pod's number.
LONGEST_NAME = 40
# Measured: a training process on the CPU 1.2 GB, a reader 0.2 GB on a small set. Assumed: CUDA brings 2 GB to a process.
PROC_MB, CUDA_MB, READER_MB = 2048, 2048, 512
UNENDING = 1000


@dataclass(frozen=True)
class K8sRequest:
    """What is asked of Kubernetes, beside what the config says."""

    image: str
    restarts: int
    with_gpus: bool = False
    """One for each process."""
    cores_per_proc: int = 0
    """0 asks for what runs."""
    memory: str = ""
    """Of each pod, shared memory included; "" asks for what runs."""
    shm_gb: int = 4
    claim: str = "tsal-dist"
    jobset: bool = False
    queue: str = ""
    """A LocalQueue of Kueue."""
    priority: str = ""
    pull_secrets: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    """KEY[=VALUE][:EFFECT] each."""
    node_labels: tuple[str, ...] = ()
    """KEY=VALUE each: the nodes that a pod may run on."""
    teacher_node_labels: tuple[str, ...] = ()
    """The same for the teacher's own pods, instead of those above."""
    rdma: str = ""
    """RESOURCE=COUNT of each pod, by the name that the cluster's device plugin gives."""


def mount_name(number: int, file: str) -> str:
    """Where a config file lies in the container; the number keeps equal names apart."""
    return f"{number}-{re.sub(r'[^-._a-zA-Z0-9]', '-', Path(file).name)}"


def object_name(config: RunConfig) -> str:
    """The run's name as Kubernetes allows it. A Service's must begin with a letter, and YAML takes `on` for a truth."""
    name = re.sub(r"[^a-z0-9-]+", "-", config.run.name.lower()).strip("-")
    if name[:1].isdigit() or name in NO_STRINGS:
        name = f"run-{name}"
    if not name or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"run.name is {config.run.name!r}, which makes the Kubernetes name {name!r}. Choose one that has 1 to "
            f"{LONGEST_NAME} letters, digits and hyphens."
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
    _check_meeting(config)
    run = object_name(config)
    # A crew that joins brings objects of its own; those of the run are there, and may not be changed.
    name = f"{run}-{_crew_name(crews[0])}" if crews[0].role == "teacher" else run
    contents = {mount_name(number, file): Path(file).read_text() for number, file in enumerate(files)}
    # YAML takes the first line's own indent for that of the whole text, unless it is told.
    told = {mounted: "2" if text.lstrip("\n")[:1].isspace() else "" for mounted, text in contents.items()}
    blocks = [f"{mounted}: |{told[mounted]}\n{_indent(text)}" for mounted, text in contents.items()]
    # What a Job was made with may not change below it, so another config is another object.
    config_map = f"{name}-{sha256(json.dumps(contents).encode()).hexdigest()[:10]}"
    values = {"run": run, "name": config_map, "files": "\n".join(blocks)}
    texts = [fill_template(HERE / "config.yaml", values)]
    labels = f"tsal-dist/run: {run}"
    labels += f"\nkueue.x-k8s.io/queue-name: {json.dumps(request.queue)}" if request.queue else ""
    specs = {
        _crew_name(crew): _render_spec(config, name, config_map, crew, own, request)
        for crew, own in zip(crews, words, strict=True)
    }
    if request.jobset:
        texts.append(_render_set(name, labels, specs, request.restarts))
    else:
        texts.append(fill_template(HERE / "service.yaml", {"run": run, "name": name}))
        for crew, spec in specs.items():
            values = {"job": f"{run}-{crew}", "labels": labels, "spec": spec}
            texts.append(fill_template(HERE / "job.yaml", values))
    return "---\n".join(texts)


def pod_memory_mb(load: Load, with_gpus: bool, shm_gb: int) -> int:
    """What the processes of a pod need, and what they hand each other frames in."""
    return load.procs * (PROC_MB + CUDA_MB * with_gpus) + load.readers * READER_MB + shm_gb * 1024


def _crew_name(crew: Crew) -> str:
    return crew.in_files or "world"


def _render_set(name: str, labels: str, specs: Mapping[str, str], restarts: int) -> str:
    """A JobSet with one replicated Job per crew, the student's first."""
    main, *teachers = specs
    rules = [f"- {{name: {main}Failed, action: FailJobSet, targetReplicatedJobs: [{main}]}}"]
    if teachers:
        # Its own Job starts a teacher again for as long as it takes: restarting the set would cost the student steps.
        rules += [
            "# A config that must be changed ends the set. Other failures its Job sees to by itself.",
            f"- {{name: teacherMisconfigured, action: FailJobSet, targetReplicatedJobs: [{', '.join(teachers)}], "
            "onJobFailureReasons: [PodFailurePolicy]}",
        ]
    jobs = [
        f"- name: {crew}\n  replicas: 1\n  template:\n    spec:\n{_indent(spec, 6)}"
        for crew, spec in specs.items()
    ]
    values = {"name": name, "labels": labels, "main": main, "restarts": restarts}
    return fill_template(HERE / "jobset.yaml", {**values, "rules": "\n".join(rules), "jobs": "\n".join(jobs)})


def _render_spec(
    config: RunConfig, name: str, config_map: str, crew: Crew, words: Sequence[str], request: K8sRequest
) -> str:
    """`name` is that of the Service that names the pods."""
    limits, run, load = config.runtime.deadlines, object_name(config), load_of(config, crew)
    job = f"{run}-{_crew_name(crew)}"
    first = f"{job}-0-0" if request.jobset else f"{job}-0"
    address = [f"--address={first}.{name}", f"--port={PORT}"] if crew.nodes > 1 else []
    command = ["python", "-m", "launch.crew", *address, *words, f"run.name={config.run.name}"]
    probe = ["python", "-m", "launch.health_probe", str(run_folder(config)), f"--silent-s={limits.group_s:g}"]
    memory = request.memory or f"{pod_memory_mb(load, request.with_gpus, request.shm_gb)}Mi"
    resources: dict[str, object] = {
        "cpu": crew.procs * request.cores_per_proc or load.cores,
        "memory": memory,
    }
    if request.with_gpus:
        # Crews that would share a machine in other places are pods of their own here, each with its own GPUs.
        resources["nvidia.com/gpu"] = crew.procs
    if request.rdma:
        device, count = _pair("--rdma", request.rdma)
        resources[device] = int(count)
    unending = request.jobset and crew.role == "teacher"
    values = {
        "about": f"On each: {load.describe()}.",
        "run": run,
        "name": name,
        "config_map": config_map,
        "job": job,
        "nodes": crew.nodes,
        "backoff_limit": UNENDING if unending else request.restarts * crew.nodes,
        "grace_s": round(limits.grace_s),
        "scheduling": "\n".join(_scheduling(crew, request)),
        "image": json.dumps(request.image),
        "command": "\n".join(f"- {yaml_word(word)}" for word in command),
        "probe": json.dumps(probe),
        "resources": json.dumps(resources),
        # Machines may wait for each other, then the roles for one another.
        "startup_s": STARTUP_S,
        "startup_failures": _startup_failures(config),
        "probe_s": PROBE_S,
        "silent_failures": math.ceil(limits.group_s / PROBE_S) + 1,
        "claim": json.dumps(request.claim),
        "shm": f"{request.shm_gb}Gi",
    }
    return fill_template(HERE / "spec.yaml", values)


def _startup_failures(config: RunConfig) -> int:
    """How many probes of a pod that starts may fail."""
    return math.ceil(2 * config.runtime.deadlines.group_s / STARTUP_S) + 1


def _check_meeting(config: RunConfig) -> None:
    """A pod whose partner is late is to be replaced by its probe, for nothing, and not to fail."""
    meet_s, granted_s = config.runtime.deadlines.meet_s, STARTUP_S * _startup_failures(config)
    if config.has_teacher and meet_s <= granted_s:
        raise ConfigError(
            f"runtime.deadlines.meet_s is {meet_s:g}, and a pod is given {granted_s} s to start (twice group_s), after which "
            f"it is replaced. Raise it above that, or a role whose partner waits for a place fails."
        )


def _scheduling(crew: Crew, request: K8sRequest) -> list[str]:
    """Lines of a pod's spec that say where it may run, and before whom."""
    own = request.teacher_node_labels if crew.role == "teacher" else ()
    labels = dict(_pair("--node-label", label) for label in own or request.node_labels)
    fields: dict[str, object] = {
        "priorityClassName": request.priority,
        "nodeSelector": labels,
        "tolerations": [_toleration(text) for text in request.tolerations],
        "imagePullSecrets": [{"name": secret} for secret in request.pull_secrets],
    }
    return [f"{field}: {json.dumps(value)}" for field, value in fields.items() if value]


def _pair(flag: str, text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not (key and found and value) or (flag == "--rdma" and not value.isdigit()):
        raise ConfigError(
            f"{flag} is {text!r}, and must be {'RESOURCE=COUNT' if flag == '--rdma' else 'KEY=VALUE'}."
        )
    return key, value


def _toleration(text: str) -> dict[str, str]:
    match = re.fullmatch(r"([^=:]+)(?:=([^:]*))?(?::(NoSchedule|PreferNoSchedule|NoExecute))?", text)
    if not match:
        raise ConfigError(
            f"--toleration is {text!r}, and must be KEY, KEY=VALUE or KEY=VALUE:EFFECT, such as nvidia.com/gpu:NoSchedule."
        )
    key, value, effect = match.groups()
    found = {"key": key, "operator": "Exists" if value is None else "Equal"}
    return found | ({"value": value} if value is not None else {}) | ({"effect": effect} if effect else {})


def _indent(text: str, by: int = 2) -> str:
    return "\n".join(f"{' ' * by}{line}" if line else "" for line in text.splitlines())
