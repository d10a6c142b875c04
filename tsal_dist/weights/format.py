"""One published version on disk: `v<step>/model.safetensors` beside `meta.json`, whole or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from tsal_dist.errors import ExchangeError
from tsal_dist.json_object import read_object
from tsal_dist.run_dir import sync_folder, write_whole

MODEL, META = "model.safetensors", "meta.json"
EXTRA = "extra."
"""What the names of tensors begin with that ride with a version and are no weights."""


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
    folder: Path, step: int, tensors: Mapping[str, Tensor], recipe: str, nme: float | None = None
) -> Version:
    """Write version `step` below `folder`. One process per folder does this.

    A version of that step from before a crash is replaced: the run went on from an earlier checkpoint.
    """
    data = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    version = Version(step, recipe, hashlib.sha256(data).hexdigest(), nme)
    aside = folder / f".v{step:08d}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    write_whole(aside / MODEL, data)
    write_whole(aside / META, json.dumps(asdict(version)).encode())
    final = version_folder(folder, step)
    if final.exists():
        # A folder cannot be replaced in one move. For a moment the version is absent, which readers bear.
        shutil.rmtree(final)
    os.rename(aside, final)
    sync_folder(folder)
    return version


def load_version(folder: Path, step: int) -> tuple[Version, dict[str, Tensor]]:
    """The note and the tensors of version `step`. FileNotFoundError if it is absent (or no longer there)."""
    place = version_folder(folder, step)
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
    version = Version(**read_object(meta))
    kinds = {"step": int, "recipe": str, "sha256": str}
    if any(type(getattr(version, name)) is not kind for name, kind in kinds.items()):
        raise ValueError("its note has values of another kind")
    if version.nme is not None and type(version.nme) not in (int, float):
        raise ValueError("its note has an error that is no number")
    return version


def list_steps(folder: Path) -> list[int]:
    """Every version that is there, oldest first. What is being written is not."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(
        int(name[1:]) for name in names if name[:1] == "v" and name[1:].isascii() and name[1:].isdigit()
    )


def version_folder(folder: Path, step: int) -> Path:
    """Where version `step` is."""
    return folder / f"v{step:08d}"
