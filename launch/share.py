"""Pack or predict on many machines: a Slurm array or an indexed Job of Kubernetes, and one more job that ends it.

python -m launch.share slurm --machines 20 --cpus 16 --dry-run pack --videos /data/clips --box full --out shards/faces
python -m launch.share slurm --machines 8 --cpus 8 --gpus 1 predict --run runs/mine --video /data/clips --table runs/mine/all.parquet
python -m launch.share k8s --machines 20 --cpus 16 --image registry/tsal pack --videos shards/raw --box full --out shards/faces

The words after `pack` and `predict` are theirs. Every machine does a part (--machine) and may be lost and started again; the
job after them does what is missing, and commits the shards or writes the table. --dry-run prints the text and submits nothing.
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.hand_over import call, create_objects, refuse_variables, require, sbatch
from launch.k8s.patch import patch_objects
from launch.slurm.render import check_line, makes_array
from launch.template import NO_STRINGS, fill_template, yaml_word
from tools import shard_videos
from tsal_dist import predict
from tsal_dist.address import refuse_secrets
from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.run_dir import write_whole

HERE = Path(__file__).parent
PARSERS = {"pack": shard_videos.build_parser, "predict": predict.build_parser}
LOGS = Path("runs") / "shared"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
GB_PER_CPU = 2
"""Of a pod's memory, unless it says otherwise."""
RESTARTS = 3
"""Of each pod that fails; one whose machine is taken away does not count."""

POLICY = """\
podFailurePolicy:
  rules:
    # 2: somebody has to change the command. A machine that is taken away is no failure.
    - action: FailJob
      onExitCodes: {containerName: share, operator: In, values: [2]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]"""


def main(argv: list[str]) -> int:
    """Hand over to the cluster that the first word names."""
    args = build_parser().parse_args(argv)
    verb, words = args.verb, args.words
    for flag in ("--machine", "--ray"):
        if any(word.split("=")[0] == flag for word in words):
            raise ConfigError(
                f"{flag} stands after {verb}, and says who does what, as this command does. Leave it out."
            )
    for word in words:
        for text in (word, word.partition("=")[2]):  # --out URL, --out=URL
            refuse_secrets(text, f"A word of {verb}")
    PARSERS[verb]().parse_args(words)  # a slip of the pen is found here, and not by each machine
    for flag in ("machines", "cpus"):
        if getattr(args, flag) < 1:
            raise ConfigError(f"--{flag} is {getattr(args, flag)}; it must be at least 1.")
    args.name = args.name or f"tsal-{verb}"
    if not NAME.fullmatch(args.name) or args.name in NO_STRINGS:
        raise ConfigError(
            f"--name is {args.name!r}; it must have 1 to 40 small letters, digits and hyphens, begin with a letter, and be no "
            "word such as `on` or `null`, which YAML takes for something else."
        )
    own = ["--workers", str(args.cpus)] if verb == "pack" else []  # the user's own come after it, and win
    command = ["-m", "tsal_dist", verb, *own, *words]
    return submit_slurm(args, command) if args.target == "slurm" else submit_k8s(args, command)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch.share",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    targets = parser.add_subparsers(dest="target", required=True, metavar="CLUSTER", help="slurm or k8s")
    slurm, k8s = (
        targets.add_parser("slurm", allow_abbrev=False),
        targets.add_parser("k8s", allow_abbrev=False),
    )
    for target in (slurm, k8s):
        add = target.add_argument
        add(
            "--machines", type=int, required=True, metavar="N", help="into how many parts the work is divided"
        )
        add("--at-a-time", type=int, default=0, metavar="N", help="of them at most at once (default: all)")
        add("--cpus", type=int, required=True, metavar="N", help="CPUs of each; predict uses few")
        add("--gpus", type=int, default=0, choices=(0, 1), help="of each; pack uses none (default: 0)")
        add("--name", default="", help="of the jobs (default: tsal-pack or tsal-predict)")
        add("--dry-run", action="store_true", help="print the text and submit nothing")
    add = slurm.add_argument
    add("--option", action="append", default=[], help="an option of sbatch, such as --option=--time=4:00:00")
    add("--setup", default="", help="a shell line to run first, such as 'module load cuda'")
    add("--python", default=sys.executable, help="the interpreter on the machines (default: this one)")
    add = k8s.add_argument
    add("--image", required=True, help="what the Dockerfile was built and pushed as")
    add("--memory", default="", help=f"of each pod (default: {GB_PER_CPU}Gi for each CPU)")
    add("--claim", default="tsal-dist", help="the volume; launch/k8s/volume.yaml makes one")
    add("--patch", type=Path, metavar="YAML", help="merged into the objects, as by `kubectl patch`")
    for target in (slurm, k8s):
        target.add_argument("verb", choices=PARSERS, help="what is shared")
        target.add_argument("words", nargs=argparse.REMAINDER, help="its own words")
    return parser


def submit_slurm(args: argparse.Namespace, command: Sequence[str]) -> int:
    """An array, and a job that waits for it."""
    for words in (args.setup, *args.option):
        refuse_variables(words)
    for option in args.option:
        check_line(option)
        if makes_array(option):
            raise ConfigError(f"--option={option} divides the work, and so does --machines. Leave it out.")
    array = f"--array=1-{args.machines}" + (f"%{args.at_a_time}" if args.at_a_time else "")
    path = LOGS / f"{args.name}.sbatch"
    options = [*(["--gpus-per-node=1"] if args.gpus else []), *args.option]
    values = {
        "name": args.name,
        "root": Path.cwd(),
        "cpus": args.cpus,
        "options": "\n".join(f"#SBATCH {option}" for option in options),
        "logs": LOGS,
        "array": array,
        "path": path,
        "machines": args.machines,
        "setup": args.setup,
        "command": shlex.join([args.python, *command]),
    }
    text = fill_template(HERE / "slurm" / "share.sbatch", values)
    if args.dry_run:
        sys.stdout.write(text)
        return ExitCode.DONE
    require("sbatch")
    write_whole(path, text.encode())
    parts = sbatch(array, path)
    try:
        end = sbatch(f"--dependency=afterok:{parts}", "--kill-on-invalid-dep=yes", path)
    except ConfigError:
        call(["scancel", parts])  # nobody would end what they do
        raise
    sys.stdout.write(
        f"parts are jobs {parts}_1 to {parts}_{args.machines}, the end is job {end}; logs in {LOGS}\n"
    )
    return ExitCode.DONE


def submit_k8s(args: argparse.Namespace, command: Sequence[str]) -> int:
    """An indexed Job, and a suspended one."""
    name = args.name
    resources: dict[str, object] = {"cpu": args.cpus, "memory": args.memory or f"{GB_PER_CPU * args.cpus}Gi"}
    if args.gpus:
        resources["nvidia.com/gpu"] = args.gpus
    part = f'exec "$@" --machine "$((JOB_COMPLETION_INDEX + 1))/{args.machines}"'
    values = {
        "image": json.dumps(args.image),
        "resources": json.dumps(resources),
        "claim": json.dumps(args.claim),
    }

    def pod(words: Sequence[str]) -> str:
        lines = "\n".join(f"- {yaml_word(word)}" for word in words)
        return fill_template(HERE / "k8s" / "share_pod.yaml", {**values, "command": lines}).rstrip()

    text = fill_template(
        HERE / "k8s" / "share.yaml",
        {
            "name": name,
            "machines": args.machines,
            "at_a_time": args.at_a_time or args.machines,
            "backoff_limit": RESTARTS * args.machines,
            "policy": POLICY,
            "template_of_a_part": pod(["sh", "-c", part, "share", "python", *command]),
            "template_of_the_end": pod(["python", *command]),
        },
    )
    if args.patch:
        text = patch_objects(text, args.patch)
    if args.dry_run:
        sys.stdout.write(text)
        return ExitCode.DONE
    said = create_objects(text)
    release = """--patch '{"spec": {"suspend": false}}'"""
    sys.stdout.write(
        f"{said}\nWhen the parts are done:\n  kubectl wait --for=condition=complete --timeout=-1s job/{name}\n"
        f"  kubectl patch job {name}-end {release}\n"
        f"A Job that has failed is never complete, and the first command would wait for a week; kubectl describe job {name} tells.\n"
    )
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(run_entry(main))
