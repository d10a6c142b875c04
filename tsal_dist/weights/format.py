"""One published version on disk: `v<step>-<incarnation>/model.safetensors` beside `meta.json`, whole or absent."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.tenure import surviving
from tsal_dist.json_object import read_sealed, write_sealed
from tsal_dist.run_dir import list_names, sync_folder, write_whole

MODEL, META = "model.safetensors", "meta.json"
EXTRA = "extra."
"""What the names of tensors begin with that ride with a version and are no weights."""
_NAME = re.compile(r"v(?P<step>[0-9]+)(-(?P<incarnation>[0-9]+))?")


@dataclass(frozen=True)
class Version:
    """What is known of a published version."""

    step: int
    """Optimiser steps of the role that published it."""
    recipe: str
    sha256: str
    """Digest of the tensors' file."""
    nme: float | None = None
    """The student's error on the gate's held-out frames when it published; None where nobody asked."""


def save_version(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    recipe: str,
    nme: float | None = None,
    incarnation: int = 0,
    require_current: Callable[[], None] = lambda: None,
) -> Version:
    """Write version `step` below `folder`. One process per folder does this.

    `incarnation` is that of the process, and part of the name: what a process leaves that wakes up after its successor
    started is told apart from the successor's by everybody. `require_current` is asked before others see anything.
    """
    data = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    version = Version(step, recipe, hashlib.sha256(data).hexdigest(), nme)
    final = version_folder(folder, step, incarnation)
    aside = aside_folder(folder, step, incarnation)
    shutil.rmtree(aside, ignore_errors=True)
    write_whole(aside / MODEL, data)
    write_whole(aside / META, write_sealed(asdict(version)))
    require_current()
    if final.exists():
        # A folder cannot be replaced in one move. For a moment the version is absent, which readers bear.
        shutil.rmtree(final)
    os.rename(aside, final)
    sync_folder(folder)
    return version


def load_version(folder: Path, step: int, incarnation: int = 0) -> tuple[Version, dict[str, Tensor]]:
    """The note and the tensors of version `step`. FileNotFoundError if it is absent (or no longer there)."""
    place = version_folder(folder, step, incarnation)
    meta, data = (place / META).read_bytes(), (place / MODEL).read_bytes()
    try:
        version = _read_note(meta)
        if version.step != step:
            raise ExchangeError(f"{place} says that it is version {version.step}. Was it copied by hand?")
        found = hashlib.sha256(data).hexdigest()
        if found != version.sha256:
            raise ExchangeError(
                f"{place / MODEL} has the digest {found[:12]} and was published as {version.sha256[:12]}: the "
                f"file was damaged. Check the disk; the next version will be taken instead."
            )
        return version, safetensors.torch.load(data)
    except (ValueError, TypeError, safetensors.SafetensorError) as error:
        raise ExchangeError(f"{place} is not a published version: {error}. Was it edited by hand?") from None


def _read_note(meta: bytes) -> Version:
    version = Version(**read_sealed(meta))
    kinds = {"step": int, "recipe": str, "sha256": str}
    if any(type(getattr(version, name)) is not kind for name, kind in kinds.items()):
        raise ValueError("its note has values of another kind")
    if version.nme is not None and type(version.nme) not in (int, float):
        raise ValueError("its note has an error that is no number")
    return version


def list_versions(folder: Path) -> dict[int, int]:
    """Every version that is there: its step, and the incarnation of the process that wrote it, the last one's of several.

    What is being written is not among them.
    """
    found: dict[int, int] = {}
    for step, incarnation in _list_all(folder):
        found[step] = max(incarnation, found.get(step, 0))
    return found


def list_steps(folder: Path) -> list[int]:
    """The versions of the history that goes on, oldest first."""
    return surviving(list_versions(folder))


def outlived(folder: Path, incarnation: int, keep: int) -> list[Path]:
    """Folders of versions that may go: beyond the `keep` newest, or of a history that ended; a successor's never."""
    newest = list_versions(folder)
    kept = surviving(newest)[-keep:]
    return [
        version_folder(folder, step, owner)
        for step, owner in _list_all(folder)
        if owner <= incarnation and (step not in kept or owner < newest[step])
    ]


def version_folder(folder: Path, step: int, incarnation: int = 0) -> Path:
    """Where a version is. Versions of earlier releases have no incarnation in their name."""
    plain = folder / f"v{step:08d}"
    return plain if incarnation == 0 else plain.with_name(f"{plain.name}-{incarnation:06d}")


def aside_folder(folder: Path, step: int, incarnation: int = 0) -> Path:
    """Where a version is written before it gets its name."""
    return folder / f".{version_folder(folder, step, incarnation).name}.tmp"


def _list_all(folder: Path) -> list[tuple[int, int]]:
    return [
        (int(match["step"]), int(match["incarnation"] or 0))
        for name in list_names(folder)
        if (match := _NAME.fullmatch(name))
    ]
