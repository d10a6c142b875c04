"""Submit a run to a cluster: the same config, as a Slurm job or as Kubernetes Jobs.

python -m launch.submit slurm --config configs/wflw.toml --nodes 2 --gpus-per-node 4 --time 12:00:00 --dry-run
python -m launch.submit k8s --config configs/wflw.toml --nodes 2 --gpus-per-node 4 --image registry/tsal --dry-run

What does not fit is refused here: too few processes for the roles, too few GPUs, too little time. --dry-run
prints the exact text and submits nothing.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from launch.crew import add_config_words, crew_words
from launch.k8s.render import CONFIG_MOUNT, K8sRequest, mount_name, render_objects
from launch.local import add_mode_words, chosen_mode
from launch.process_plan import plan_crews
from launch.slurm.render import SlurmRequest, render_job
from tsal_dist.cli import run_entry
from tsal_dist.config import RunConfig, load_config
from tsal_dist.errors import ConfigError, ExitCode, TopologyError
from tsal_dist.run import open_run
from tsal_dist.run_dir import write_whole

_SECRET = re.compile(r"(\w*(?:SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY|API_KEY)\w*)=(?!\$)", re.IGNORECASE)


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


def submit_slurm(argv: list[str]) -> int:
    """One sbatch job."""
    parser = argparse.ArgumentParser(prog="python -m launch.submit slurm")
    _add_shared_words(parser)
    add_mode_words(parser)
    parser.add_argument(
        "--time", default="", help="the job's limit; it is put back into the queue before it ends"
    )
    parser.add_argument("--partition", default="", help="as for sbatch")
    parser.add_argument("--account", default="", help="as for sbatch")
    parser.add_argument(
        "--option", action="append", default=[], help="any other option of sbatch, such as --option=--mem=0"
    )
    parser.add_argument("--setup", default="", help="a shell line to run first, such as 'module load cuda'")
    parser.add_argument("--python", default=sys.executable, help="the interpreter on the machines")
    args = parser.parse_intermixed_args(argv)

    for words in (args.setup, *args.option):
        _refuse_secrets(words)
    config = load_config(args.config, args.overrides)
    procs = _procs_per_node(args)
    crews = plan_crews(config, args.nodes, procs)
    request = SlurmRequest(
        nodes=args.nodes,
        gpus_per_node=args.gpus_per_node,
        cpus_per_node=procs * _cpus_per_proc(config, args),
        python=args.python,
        root=Path.cwd(),
        restarts=args.restarts,
        time=args.time,
        partition=args.partition,
        account=args.account,
        options=tuple(args.option),
        setup=args.setup,
    )
    text = render_job(config, crews, [crew_words(crew, args) for crew in crews], request)
    if args.dry_run:
        sys.stdout.write(text)
        return ExitCode.DONE
    _require("sbatch")
    # Opened here, once: the job takes the run up, and refuses a config that was changed while it waited.
    run_dir = open_run(config, chosen_mode(args)).dir
    path = run_dir.root / "logs" / "job.sbatch"
    write_whole(path, text.encode())
    job = _call(["sbatch", "--parsable", str(path)])
    sys.stdout.write(f"job {job}; its log will be {run_dir.root / 'logs' / f'slurm-{job}.log'}\n")
    return ExitCode.DONE


def submit_k8s(argv: list[str]) -> int:
    """A ConfigMap, a Service, and one indexed Job per crew."""
    parser = argparse.ArgumentParser(prog="python -m launch.submit k8s")
    _add_shared_words(parser)
    parser.add_argument("--image", required=True, help="what the Dockerfile was built and pushed as")
    parser.add_argument(
        "--memory", default="16Gi", help="of each pod, shared memory included (default: 16Gi)"
    )
    parser.add_argument("--shm", default="4Gi", help="shared memory of each pod (default: 4Gi)")
    parser.add_argument("--claim", default="tsal-dist", help="the volume; launch/k8s/volume.yaml makes one")
    args = parser.parse_intermixed_args(argv)

    config = load_config(args.config, args.overrides)
    crews = plan_crews(config, args.nodes, _procs_per_node(args))
    mounted = argparse.Namespace(**vars(args))
    mounted.config = [str(CONFIG_MOUNT / mount_name(number, file)) for number, file in enumerate(args.config)]
    # In pods of their own, no crew comes after another on the same machine.
    alone = [replace(crew, first_node=0, first_proc=0) for crew in crews]
    request = K8sRequest(
        image=args.image,
        with_gpus=args.gpus_per_node > 0,
        cpus_per_proc=_cpus_per_proc(config, args),
        memory=args.memory,
        shm=args.shm,
        claim=args.claim,
        restarts=args.restarts,
    )
    text = render_objects(config, args.config, alone, [crew_words(crew, mounted) for crew in alone], request)
    if args.dry_run:
        sys.stdout.write(text)
        return ExitCode.DONE
    _require("kubectl")
    sys.stdout.write(_call(["kubectl", "create", "-f", "-"], text) + "\n")
    return ExitCode.DONE


def _add_shared_words(parser: argparse.ArgumentParser) -> None:
    add_config_words(parser)
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus-per-node", type=int, default=0, help="GPUs on each, one process each")
    parser.add_argument("--procs-per-node", type=int, help="processes on each (default: one per GPU)")
    parser.add_argument("--cpus-per-proc", type=int, help="CPU cores for each (default: 1 + data.workers)")
    parser.add_argument("--restarts", type=int, default=3, help="how often a role may fail (default: 3)")
    parser.add_argument("--dry-run", action="store_true", help="print the text and submit nothing")


def _refuse_secrets(words: str) -> None:
    """Job files are read by others, and kept."""
    if found := _SECRET.search(words):
        raise ConfigError(
            f"A line of the job would set {found[1]} for everybody who can read the job's file. Keep it in a file that "
            f"only you can read, and name that: --setup 'source ~/.tsal-credentials'."
        )


def _procs_per_node(args: argparse.Namespace) -> int:
    """How many processes a machine runs, if its GPUs are enough for them."""
    procs, gpus = args.procs_per_node, args.gpus_per_node
    if procs is None and not gpus:
        raise TopologyError("Neither --gpus-per-node nor --procs-per-node was given. Give one of them.")
    if procs is not None and 0 < gpus < procs:
        raise TopologyError(
            f"--procs-per-node {procs} is more than --gpus-per-node {gpus}, and NCCL refuses two processes on one "
            f"GPU. Ask for {procs} GPUs per machine, or for {gpus} processes."
        )
    return int(gpus if procs is None else procs)


def _cpus_per_proc(config: RunConfig, args: argparse.Namespace) -> int:
    return int(args.cpus_per_proc or 1 + config.data.workers)


def _require(program: str) -> None:
    if not shutil.which(program):
        raise ConfigError(
            f"There is no {program} here. Submit from where there is one, or look at the text with --dry-run."
        )


def _call(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{shlex.join(command)} was refused: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(run_entry(main))
