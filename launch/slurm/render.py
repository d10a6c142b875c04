"""A run as Slurm jobs: one, or in `detached` one for each crew, which then needs the others only by files."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.process_plan import Crew, Load, load_of
from launch.slurm.container import container_words, local_shards, seen_places
from launch.template import check_value, fill_template
from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.run import run_folder

HERE = Path(__file__).parent
# sbatch's own limit for --signal.
LONGEST_NOTICE_S = 65535

ABOUT = {
    "": "One torchrun world over all machines, its processes divided into roles.",
    "student": "The student. Its teacher is a job of its own: a machine that is lost there costs labels and not steps.",
    "teacher": "The teacher. It works while the student's job runs, whose number is this job's only word, waits while\n"
    "that one waits, and ends with it.",
}


@dataclass(frozen=True)
class SlurmRequest:
    """What is asked of Slurm, beside what the config says."""

    python: str
    repository: Path
    """On a filesystem that every machine sees."""
    root: Path
    """Where the job runs: the repository, or a snapshot of it."""
    restarts: int
    with_gpus: bool = False
    """One for each process."""
    cores_per_proc: int = 0
    """0 asks for what runs."""
    mem: str = ""
    time: str = ""
    partition: str = ""
    teacher_partition: str = ""
    account: str = ""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as --constraint=a100."""
    teacher_options: tuple[str, ...] = ()
    """The same for the teacher's own job."""
    setup: str = ""
    """A shell line to run first, such as `module load cuda`."""
    configs: tuple[str, ...] = ()
    """The config's files."""
    container: str = ""
    """An image for srun's --container-image (pyxis), or an apptainer file that ends with .sif."""
    stage: str = ""
    """A folder on every machine's own disk that the shards are copied to first."""


def job_name(crew: Crew) -> str:
    """What a crew's job text is called."""
    return crew.in_files or "job"


def log_name(crew: Crew) -> str:
    """What the job's log is called; its number follows."""
    return "-".join(filter(None, ("slurm", crew.in_files)))


def render_job(config: RunConfig, crew: Crew, words: Sequence[str], request: SlurmRequest) -> str:
    """One crew's sbatch text; `words` are launch.crew's, without what only Slurm knows."""
    limits, folder, load = config.runtime.deadlines, run_folder(config), load_of(config, crew)
    _check_time(request.time, limits.grace_s)
    check_value("--container", request.container, sbatch=False)
    cores = crew.procs * request.cores_per_proc or load.cores
    places = (
        seen_places(config, request.repository, request.configs, request.stage) if request.container else []
    )
    values: dict[str, object] = {
        "name": "-".join(filter(None, (config.run.name or "tsal_dist", crew.in_files))),
        "root": request.root,
        "nodes": crew.nodes,
        "cpus": cores,
        "options": "\n".join(f"#SBATCH {option}" for option in _options(crew, request)),
        "grace_s": round(limits.grace_s),
        "shutdown_s": round(limits.shutdown_s),
        "logs": folder / "logs",
        "log": log_name(crew),
        "about": _about(crew, load, cores),
        "setup": request.setup,
        "python": shlex.quote(request.python),
        "run": shlex.quote(str(folder)),
        "roles": " ".join(crew.plays),
        "restarts": request.restarts,
        "container": container_words(request.container, places, request.with_gpus),
        "staging": _staging(config, request.stage),
        "copy": "await copy_shards || leave $((asked ? 75 : 1))" if request.stage else "",
        "waits_for": "student_job=${1:-}" if crew.role == "teacher" else "",
        "words": shlex.join(words),
    }
    return fill_template(HERE / "job.sbatch", values)


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


def check_line(option: str) -> None:
    """Refuse an option of sbatch that is no single line."""
    if not option.isprintable():
        raise ConfigError(
            f"--option={option!r} would break its line of the job's text. Write one option each."
        )


def makes_array(option: str) -> bool:
    """Whether an option of sbatch, or what it may be shortened to, makes an array of jobs."""
    return bool(re.match(r"-a|--ar", option.strip()))


def _options(crew: Crew, request: SlurmRequest) -> list[str]:
    teaches = crew.role == "teacher"
    values = {
        "gpus-per-node": crew.procs if request.with_gpus else "",
        "mem": request.mem,
        "time": request.time,
        "partition": (request.teacher_partition if teaches else "") or request.partition,
        "account": request.account,
    }
    for name, value in values.items():
        check_value(f"--{name}", str(value))
    own = [f"--{name}={value}" for name, value in values.items() if value]
    for option in (*request.options, *request.teacher_options):
        check_line(option)
        if makes_array(option):
            raise ConfigError(
                f"--option={option} would start the same run several times in one run directory. Submit a run of its "
                f"own for each setting (run.name=...), or search them with launch.sweep."
            )
    return [*own, *request.options, *(request.teacher_options if teaches else ())]


def _about(crew: Crew, load: Load, cores: int) -> str:
    who = (
        ABOUT[crew.role].replace("The teacher.", f"The teachers' crew {crew.name}.")
        if crew.name
        else ABOUT[crew.role]
    )
    text = (
        f"{who}\n"
        f"On a machine: {load.describe()}, {cores} cores.\n"
        f"Before the time limit they save and the job is put back into the queue; so is a job that lost a machine.\n"
        f"Every start goes on from the last checkpoint."
    )
    return "\n".join(f"# {line}" for line in text.splitlines())


def _staging(config: RunConfig, place: str) -> str:
    """The words by which the job copies its shards to the machines' own disks."""
    if not place:
        return ""
    if not re.fullmatch(r"[-\w./${}]+", place):
        raise ConfigError(
            f"--stage is {place!r}, and must be a folder that is named without blanks and quotes, such as /tmp or $TMPDIR."
        )
    sets = local_shards(config)
    for url in sets:
        if Path(url).is_absolute() or ".." in Path(url).parts:
            raise ConfigError(
                f"--stage copies shards to where the config names them, below a folder of the machine's own, and "
                f"{url!r} is not below the repository. Name it by a link there, such as shards/{Path(url).name}."
            )
    return f'stage="{place}/tsal-$SLURM_JOB_ID"\nshard_sets=({shlex.join(sets)})'


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
