"""One checkpoint on disk: a folder with the files of its ranks and COMMIT, which names them and their digests."""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from tsal_dist.checkpoint.codec import decode_state, encode_state
from tsal_dist.errors import CheckpointError
from tsal_dist.json_object import read_sealed, write_sealed
from tsal_dist.run_dir import COMMIT, list_names, sync_folder, write_whole

GONE = ".gone-"
"""Begins the name of a folder that is being removed."""
_ASIDE = re.compile(r"\.step_[0-9]+-(?P<incarnation>[0-9]+)\.tmp")


class DamagedCheckpoint(CheckpointError):
    """A checkpoint that was committed and is not what it was."""


@dataclass(frozen=True)
class Commit:
    """What COMMIT says."""

    step: int
    world: int
    identity: Mapping[str, Any] | None
    files: Mapping[str, str]
    """Digest of every file."""
    incarnation: int = 0
    """Of the process that committed it."""
    serial: int = 0
    """Counts the commits of an incarnation."""

    @property
    def order(self) -> tuple[int, int]:
        """Later commits are greater."""
        return self.incarnation, self.serial


def aside_folder(folder: Path, step: int, incarnation: int) -> Path:
    """Where the checkpoint is written before it gets its name: a folder that no other incarnation writes into."""
    return folder / f".step_{step}-{incarnation:06d}.tmp"


def leftovers(folder: Path, incarnation: int) -> list[Path]:
    """What crashes and half removed folders left, up to and including this incarnation."""
    return [
        folder / name
        for name in list_names(folder)
        if name.startswith(GONE)
        or ((match := _ASIDE.fullmatch(name)) and int(match["incarnation"]) <= incarnation)
    ]


def write_commit(place: Path, commit: Commit) -> None:
    write_whole(place / COMMIT, write_sealed(asdict(commit)))


def read_commit(place: Path) -> Commit:
    """FileNotFoundError where the folder has none, DamagedCheckpoint where nobody can read it."""
    kinds = {"world": int, "identity": dict | None, "files": dict}
    try:
        page = read_sealed((place / COMMIT).read_bytes())
        for name, kind in kinds.items():
            if not isinstance(page[name], kind):
                raise ValueError("a value of it has another kind")
        numbers = {name: page.get(name, 0) for name in ("step", "incarnation", "serial")}
        if any(type(number) is not int for number in numbers.values()):
            raise ValueError("a number in it is not whole")
        return Commit(world=page["world"], identity=page["identity"], files=page["files"], **numbers)
    except (ValueError, KeyError, NotADirectoryError, IsADirectoryError):
        raise DamagedCheckpoint(
            f"{place / COMMIT} is not readable. Remove {place} to resume from an earlier checkpoint."
        ) from None


def rename_durably(place: Path, target: Path) -> None:
    os.rename(place, target)
    sync_folder(target.parent)


def hide(place: Path) -> Path:
    """Take a folder's name away; it is removed afterwards, as far as that can be done."""
    gone = place.with_name(f"{GONE}{place.name.lstrip('.')}-{uuid.uuid4().hex[:8]}")
    os.rename(place, gone)
    return gone


def discard(gone: Path) -> None:
    """Remove what was hidden; OSError where that cannot be done."""
    if gone.is_dir() and not gone.is_symlink():
        shutil.rmtree(gone)
    else:
        gone.unlink(missing_ok=True)


def write_state(place: Path, name: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Write `state` as two files and return their digests by file name."""
    tensors, rest = encode_state(state)
    files = {f"{name}.json": rest, f"{name}.safetensors": safetensors.torch.save(tensors)}
    for file, data in files.items():
        write_whole(place / file, data)
    return {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}


def read_state(place: Path, name: str, digests: Mapping[str, str]) -> Any:
    rest = read_file(place, f"{name}.json", digests)
    return decode_state(safetensors.torch.load(read_file(place, f"{name}.safetensors", digests)), rest)


def read_file(place: Path, file: str, digests: Mapping[str, str]) -> bytes:
    try:
        data = (place / file).read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != digests.get(file):
        raise DamagedCheckpoint(
            f"{place / file} is missing or not what was committed. Remove {place} to resume from an earlier "
            f"checkpoint."
        )
    return data
