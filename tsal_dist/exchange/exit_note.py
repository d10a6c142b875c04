"""The note that a role leaves: how its attempt ended, which no exit code of torchrun says."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tsal_dist.errors import ExitCode
from tsal_dist.json_object import read_object
from tsal_dist.run_dir import write_whole


@dataclass(frozen=True)
class Ending:
    """How something ended, and why in words."""

    code: ExitCode
    reason: str
    attempt: int = 0


def write_note(path: Path, ending: Ending) -> None:
    """`launch/slurm/keep.sh` reads it as well."""
    write_whole(path, json.dumps(asdict(ending)).encode())


def read_note(path: Path) -> Ending | None:
    """None where there is none: notes are written whole, so a damaged one is as good as that."""
    try:
        note = read_object(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    said, reason, attempt = note.get("code"), note.get("reason"), note.get("attempt", 0)
    if not (type(said) is int and isinstance(reason, str) and type(attempt) is int):
        return None
    code = ExitCode.of(said)
    return Ending(code, reason if code == said else f"{reason} (code {said})", attempt)
