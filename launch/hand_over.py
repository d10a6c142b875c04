"""A job's text handed over to the cluster's own program, or why it was not."""

import re
import shlex
import shutil
import subprocess

from tsal_dist.address import is_secret_variable
from tsal_dist.errors import ConfigError

_SAID = re.compile(r'([\w-]+)=(?!"?[$`])')
"""What is given a value here, and not one that the job takes from elsewhere, as by $NAME and $(cat file)."""


def refuse_variables(words: str) -> None:
    """Job files are read by others, and kept: nothing in them may set what sounds like a secret."""
    if found := next(filter(is_secret_variable, _SAID.findall(words)), ""):
        raise ConfigError(
            f"A line of the job would set {found.lstrip('-')} for everybody who can read the job's file. Keep it in a file that "
            f"only you can read, and name that: --setup 'source ~/.tsal-credentials'."
        )


def require(program: str) -> None:
    """It is here."""
    if not shutil.which(program):
        raise ConfigError(
            f"There is no {program} here. Submit from where there is one, or look at the text with --dry-run."
        )


def call(command: list[str], text: str = "") -> str:
    """What it prints; ConfigError where it refuses."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{shlex.join(command)} was refused: {done.stderr.strip()}")
    return done.stdout.strip()


def create_objects(text: str) -> str:
    """What the cluster that kubectl knows says of them. Jobs are new; what they share may be there from an earlier time."""
    require("kubectl")
    there = call(["kubectl", "get", "--ignore-not-found", "--output=name", "-f", "-"], text).split()
    # kubectl makes one object after the other, whatever becomes of those before.
    if jobs := [name for name in there if name.startswith(("job.", "jobset."))]:
        raise ConfigError(
            f"{' and '.join(jobs)} {'is' if len(jobs) == 1 else 'are'} there already, at work or at an end, and nothing was "
            f"made. To start anew: kubectl delete {' '.join(jobs)}"
        )
    return call(["kubectl", "apply", "-f", "-"], text)


def sbatch(*words: object) -> str:
    """The job's number. A federation of clusters adds its own name to it."""
    return call(["sbatch", "--parsable", *map(str, words)]).partition(";")[0]
