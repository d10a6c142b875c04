"""A run as the text of one Slurm job."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.process_plan import Crew
from launch.template import fill_template
from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.run import run_folder

HERE = Path(__file__).parent
# sbatch's own limit for --signal.
LONGEST_NOTICE_S = 65535


@dataclass(frozen=True)
class SlurmRequest:
    """What is asked of Slurm, beside what the config says."""

    nodes: int
    gpus_per_node: int
    cpus_per_node: int
    python: str
    root: Path
    """The repository, on a filesystem that every machine sees."""
    restarts: int
    time: str = ""
    partition: str = ""
    account: str = ""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as --mem=0."""
    setup: str = ""
    """A shell line to run first, such as `module load cuda`."""


def render_job(
    config: RunConfig, crews: Sequence[Crew], words: Sequence[Sequence[str]], request: SlurmRequest
) -> str:
    """The sbatch text; `words` are launch.crew's for each crew, without what only Slurm knows."""
    limits, folder = config.runtime.deadlines, run_folder(config)
    _check_time(request.time, limits.grace_s)
    options = [f"--gpus-per-node={request.gpus_per_node}"] if request.gpus_per_node else []
    for name in ("time", "partition", "account"):
        options += [f"--{name}={getattr(request, name)}"] if getattr(request, name) else []
    values: dict[str, object] = {
        "name": config.run.name or "tsal_dist",
        "root": request.root,
        "nodes": request.nodes,
        "cpus": request.cpus_per_node,
        "options": "\n".join(f"#SBATCH {option}" for option in (*options, *request.options)),
        "grace_s": round(limits.grace_s),
        "shutdown_s": round(limits.shutdown_s),
        "logs": folder / "logs",
        "setup": request.setup,
        "python": shlex.quote(request.python),
        "run": shlex.quote(str(folder)),
        "restarts": request.restarts,
    }
    if len(crews) == 1:
        values |= {"roles": " ".join(crews[0].plays), "words": shlex.join(words[0])}
        return fill_template(HERE / "split.sbatch", values)
    for crew, own in zip(crews, words, strict=True):
        values |= {
            f"{crew.role}_first": crew.first_node,
            f"{crew.role}_nodes": crew.nodes,
            f"{crew.role}_words": shlex.join(own),
        }
    return fill_template(HERE / "detached.sbatch", values)


def parse_time(text: str) -> int:
    """Seconds of a Slurm time: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise ConfigError(f"--time {text!r} is not a time that Slurm knows. Write H:M:S or D-H:M:S.")
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _check_time(time: str, grace_s: float) -> None:
    if grace_s > LONGEST_NOTICE_S:
        raise ConfigError(
            f"runtime.deadlines.grace_s is {grace_s:g}, and Slurm gives at most {LONGEST_NOTICE_S} s of notice. Lower it."
        )
    if time and parse_time(time) <= 2 * grace_s:
        raise ConfigError(
            f"--time {time} is {parse_time(time)} s, and runtime.deadlines.grace_s asks for notice {grace_s:g} s before "
            f"its end, so most of the job would be leaving. Ask for more than {2 * grace_s:g} s, or lower the deadlines."
        )
