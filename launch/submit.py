"""Submit a run to a cluster: the same config, as a Slurm job or as Kubernetes Jobs.

python -m launch.submit slurm --config configs/wflw.toml --nodes 2 --gpus-per-node 4 --time 12:00:00 --dry-run
python -m launch.submit k8s --config configs/wflw.toml --nodes 2 --gpus-per-node 4 --image registry/tsal --dry-run
python -m launch.submit slurm --config configs/wflw.toml --crew night --gpus-per-node 2 --partition spot

What does not fit is refused here: too few processes for the roles, too few GPUs, too little time. --dry-run
prints the exact text and submits nothing.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launch.crew import add_config_words, crew_words
from launch.hand_over import call, create_objects, refuse_variables, require, sbatch
from launch.k8s.patch import patch_objects
from launch.k8s.render import CONFIG_MOUNT, K8sRequest, mount_name, render_objects
from launch.local import add_crew_words, add_mode_words, chosen_crews, open_chosen
from launch.process_plan import Crew
from launch.slurm.container import own_code
from launch.slurm.render import SlurmRequest, job_name, log_name, render_job
from launch.snapshot import code_digest, copy_code, list_code
from tsal_dist.cli import run_entry
from tsal_dist.config import RunConfig, load_config
from tsal_dist.errors import ConfigError, ExitCode, TopologyError
from tsal_dist.run import run_folder
from tsal_dist.run_dir import RunDir, write_whole

STUDENT_JOB = "student.job"
"""In a run's logs/: the number of the job that its student is in."""


def main(argv: list[str]) -> int:
    """Hand over to the cluster that the first word names."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.submit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=("slurm", "k8s"), help="the cluster; `slurm --help` says more")
    # Words of the config may stand anywhere after it, which argparse's own subcommands do not allow.
    target = parser.parse_args(argv[:1]).target
    return {"slurm": submit_slurm, "k8s": submit_k8s}[target](argv[1:])


def build_slurm_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m launch.submit slurm")
    _add_shared_words(parser)
    add_mode_words(parser)
    add = parser.add_argument
    add("--time", default="", help="the job's limit; it is put back into the queue before it ends")
    add("--partition", default="", help="as for sbatch")
    add("--teacher-partition", default="", help="detached: another partition for the teacher's job")
    add("--account", default="", help="as for sbatch")
    add("--mem", default="", metavar="SIZE", help="memory on each machine, as for sbatch")
    add(
        "--option",
        action="append",
        default=[],
        help="any other option of sbatch, such as --option=--constraint=a100",
    )
    add(
        "--teacher-option",
        action="append",
        default=[],
        help="detached: the same, for the teacher's job alone; it wins",
    )
    add("--setup", default="", help="a shell line to run first, such as 'module load cuda'")
    add(
        "--python",
        help="the interpreter on the machines, or in the container (default: this one; there `python`)",
    )
    add(
        "--container",
        default="",
        metavar="IMAGE",
        help="run in this image: a .sif file by apptainer, anything else by srun's pyxis",
    )
    add(
        "--stage",
        default="",
        metavar="DIR",
        help="copy the shards to DIR on every machine first, such as /tmp or '$TMPDIR'",
    )
    add("--snapshot", action="store_true", help="run a copy of the code as it is now, kept with the run")
    return parser


def submit_slurm(argv: list[str]) -> int:
    """One sbatch job; in `detached` one for each crew. One more for a crew that joins."""
    args = build_slurm_parser().parse_intermixed_args(argv)

    for words in (args.setup, *args.option, *args.teacher_option):
        refuse_variables(words)
    config = load_config(args.config, args.overrides)
    crews = [_alone(crew) for crew in chosen_crews(config, args, args.nodes, _procs_per_node(args))]
    if not any(crew.role == "teacher" for crew in crews) and (args.teacher_partition or args.teacher_option):
        raise _needs_detached("--teacher-partition or --teacher-option", config)
    named = [*args.config, *own_code(config)]
    root, files = Path.cwd(), list_code(Path.cwd(), named) if args.snapshot else []
    if args.snapshot:
        root = RunDir(run_folder(config).absolute()).code / code_digest(Path.cwd(), files)
    request = SlurmRequest(
        python=args.python or ("python" if args.container else sys.executable),
        repository=Path.cwd(),
        root=root,
        restarts=args.restarts,
        with_gpus=args.gpus_per_node > 0,
        cores_per_proc=args.cpus_per_proc or 0,
        mem=args.mem,
        time=args.time,
        partition=args.partition,
        teacher_partition=args.teacher_partition,
        account=args.account,
        options=tuple(args.option),
        teacher_options=tuple(args.teacher_option),
        setup=args.setup,
        configs=tuple(args.config),
        container=args.container,
        stage=args.stage,
    )
    texts = {crew: render_job(config, crew, crew_words(crew, args), request) for crew in crews}
    run_dir = RunDir(run_folder(config))
    paths = {crew: run_dir.launcher(f"{job_name(crew)}.sbatch") for crew in crews}
    if args.dry_run:
        for crew, text in texts.items():
            sys.stdout.write((f"# {paths[crew]}\n" if len(crews) > 1 else "") + text)
        return ExitCode.DONE
    require("sbatch")
    note = run_dir.launcher(STUDENT_JOB)
    if not args.crew:
        _refuse_queued(note)
    # Opened here, once: the job takes the run up, and refuses a config that was changed while it waited.
    open_chosen(config, args)
    if args.snapshot:
        copy_code(Path.cwd(), files, root)
    for crew, text in texts.items():
        write_whole(paths[crew], text.encode())
    jobs = _join(paths[crews[0]], note) if args.crew else submit_jobs([paths[crew] for crew in crews])
    if not args.crew:
        write_whole(note, jobs[0].encode())
    for crew, job in zip(crews, jobs, strict=True):
        log = run_dir.launcher(f"{log_name(crew)}-{job}.log")
        sys.stdout.write(f"{crew.in_files}{' ' * bool(crew.role)}job {job}; its log will be {log}\n")
    return ExitCode.DONE


def submit_jobs(texts: Sequence[Path]) -> list[str]:
    """Submit one job, or the student's and then those of its teachers; their numbers.

    The student's is held until its teachers have a place in the queue, and begins once one of them has begun: it waits in
    the queue for them, not on GPUs. Theirs are told whom they work for.
    """
    if len(texts) == 1:
        return [sbatch(texts[0])]
    student = sbatch("--hold", texts[0])
    teachers: list[str] = []
    try:
        for text in texts[1:]:
            teachers.append(sbatch(text, student))
        any_began = "?".join(f"after:{teacher}" for teacher in teachers)
        call(["scontrol", "update", f"JobId={student}", f"Dependency={any_began}"])
        call(["scontrol", "release", student])
    except ConfigError:
        call(["scancel", student, *teachers])
        raise
    return [student, *teachers]


def _refuse_queued(note: Path) -> None:
    """ConfigError where the run's job is still in the queue. On several machines two would end each other in turns."""
    job = note.read_text() if note.exists() and shutil.which("squeue") else ""
    try:
        state = call(["squeue", "--noheader", f"--jobs={job}", "--format=%T"]) if job else ""
    except ConfigError:
        return  # Slurm has forgotten it
    if state and state != "COMPLETING":
        raise ConfigError(
            f"This run's student is in job {job} already, which is {state}, and two would end each other. Wait for its end, "
            f"or have it save and leave (scancel --batch --signal=TERM {job}); then submit with --resume."
        )


def _join(text: Path, note: Path) -> list[str]:
    """Submit the job of a crew that joins. It works while the student's job runs, where that one is a job: its number was
    noted when it was submitted."""
    student = note.read_text() if note.exists() else ""
    return [sbatch(text, *filter(None, [student]))]


def _needs_detached(flag: str, config: RunConfig) -> ConfigError:
    return ConfigError(
        f"{flag} is for a teacher that has a job of its own, and runtime.topology is {config.runtime.topology!r}. Set "
        f"runtime.topology=detached, or leave it out."
    )


def _alone(crew: Crew) -> Crew:
    """The crew in a job or pods of its own, where no other comes before it on a machine."""
    return replace(crew, first_node=0, first_proc=0)


def build_k8s_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m launch.submit k8s")
    _add_shared_words(parser)
    add = parser.add_argument
    add("--image", required=True, help="what the Dockerfile was built and pushed as")
    add("--memory", default="", help="of each pod, shared memory included (default: for what runs)")
    add("--shm-gb", type=int, default=4, metavar="GB", help="shared memory of each pod (default: 4)")
    add("--claim", default="tsal-dist", help="the volume; launch/k8s/volume.yaml makes one")
    add("--jobset", action="store_true", help="all crews as one JobSet; the cluster needs its controller")
    add("--queue", default="", help="a LocalQueue of Kueue that decides when the run may begin")
    add("--priority", default="", metavar="CLASS", help="a PriorityClass")
    add("--rdma", default="", metavar="RESOURCE=COUNT", help="RDMA devices of each pod, such as rdma/hca=1")
    repeated = {
        "--pull-secret": "a secret that the image is pulled with",
        "--toleration": "KEY[=VALUE][:EFFECT] of a taint that does not matter, such as nvidia.com/gpu",
        "--node-label": "KEY=VALUE of the nodes to run on",
        "--teacher-node-label": "detached: the same for the teacher's pods, instead",
    }
    for flag, says in repeated.items():
        add(flag, action="append", default=[], help=f"{says}; repeatable")
    add("--patch", type=Path, metavar="YAML", help="merged into the objects, as by `kubectl patch`")
    return parser


def submit_k8s(argv: list[str]) -> int:
    """A ConfigMap, a Service, and one indexed Job per crew; or the ConfigMap and a JobSet. The same three for a crew that
    joins."""
    args = build_k8s_parser().parse_intermixed_args(argv)

    config = load_config(args.config, args.overrides)
    mounted = argparse.Namespace(**vars(args))
    mounted.config = [str(CONFIG_MOUNT / mount_name(number, file)) for number, file in enumerate(args.config)]
    crews = [_alone(crew) for crew in chosen_crews(config, args, args.nodes, _procs_per_node(args))]
    if not any(crew.role == "teacher" for crew in crews) and args.teacher_node_label:
        raise _needs_detached("--teacher-node-label", config)
    if args.crew and args.jobset:
        raise ConfigError(
            f"--crew {args.crew} joins by a Job of its own: a JobSet takes no further Jobs once it is made. Leave --jobset "
            f"out, whatever the run was submitted with."
        )
    request = K8sRequest(
        image=args.image,
        restarts=args.restarts,
        with_gpus=args.gpus_per_node > 0,
        cores_per_proc=args.cpus_per_proc or 0,
        memory=args.memory,
        shm_gb=args.shm_gb,
        claim=args.claim,
        jobset=args.jobset,
        queue=args.queue,
        priority=args.priority,
        pull_secrets=tuple(args.pull_secret),
        tolerations=tuple(args.toleration),
        node_labels=tuple(args.node_label),
        teacher_node_labels=tuple(args.teacher_node_label),
        rdma=args.rdma,
    )
    text = render_objects(config, args.config, crews, [crew_words(crew, mounted) for crew in crews], request)
    if args.patch:
        text = patch_objects(text, args.patch)
    if args.dry_run:
        sys.stdout.write(text)
        return ExitCode.DONE
    sys.stdout.write(create_objects(text) + "\n")
    return ExitCode.DONE


def _add_shared_words(parser: argparse.ArgumentParser) -> None:
    add_config_words(parser)
    add_crew_words(parser)
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus-per-node", type=int, default=0, help="GPUs on each, one process each")
    parser.add_argument("--procs-per-node", type=int, help="processes on each (default: one per GPU)")
    parser.add_argument(
        "--cpus-per-proc", type=int, help="CPU cores for each (default: what runs, itself and its readers)"
    )
    parser.add_argument("--restarts", type=int, default=3, help="how often a role may fail (default: 3)")
    parser.add_argument("--dry-run", action="store_true", help="print the text and submit nothing")


def _procs_per_node(args: argparse.Namespace) -> int:
    """How many processes a machine runs: one on each of its GPUs, where it has any."""
    procs, gpus = args.procs_per_node, args.gpus_per_node
    if procs is None and not gpus:
        raise TopologyError("Neither --gpus-per-node nor --procs-per-node was given. Give one of them.")
    if procs is not None and 0 < procs < gpus:
        raise TopologyError(
            f"--gpus-per-node {gpus} is more than --procs-per-node {procs}, so {gpus - procs} GPUs of each machine would be "
            f"taken and not used. Ask for {procs} GPUs per machine, or for {gpus} processes."
        )
    if procs is not None and 0 < gpus < procs:
        raise TopologyError(
            f"--procs-per-node {procs} is more than --gpus-per-node {gpus}, and NCCL refuses two processes on one "
            f"GPU. Ask for {procs} GPUs per machine, or for {gpus} processes."
        )
    return int(gpus if procs is None else procs)


if __name__ == "__main__":
    sys.exit(run_entry(main))
