"""A copy of the code that a job runs with: what is edited while it waits, or between two starts, does not reach it."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from tsal_dist.errors import ConfigError
from tsal_dist.run_dir import sync_folder

CODE = ("launch", "tsal_dist", "configs")


def list_code(root: Path, named: Sequence[str]) -> list[Path]:
    """The files of a snapshot: all code, and the files of configs and of somebody's own code that the run `named`."""
    found = {path for name in CODE for path in (root / name).rglob("*")}
    for name in named:
        if not Path(name).is_absolute():
            if ".." in Path(name).parts:
                raise ConfigError(
                    f"--snapshot keeps what a run names beside the code, and {name} lies outside of it. Give its absolute "
                    f"path, which is read where it is, or move it below the repository."
                )
            found.add(root / name)
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def code_digest(root: Path, files: Sequence[Path]) -> str:
    """A name for what the files hold: a later submission of the same code takes the same copy."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def copy_code(root: Path, files: Sequence[Path], target: Path) -> None:
    """Copy `files`, and link to everything else at `root`, runs and shards above all. A copy is never changed."""
    if target.exists():
        return
    aside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    for path in files:
        copy = aside / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    _link_rest(root, aside)
    aside.rename(target)
    sync_folder(target.parent)


def _link_rest(folder: Path, copy: Path, spared: Sequence[str] = CODE) -> None:
    """Also within folders of which only some files were copied: a config may lie in runs/, beside the run itself."""
    for entry in folder.iterdir():
        place = copy / entry.name
        if not place.exists() and not entry.name.startswith("."):
            place.symlink_to(entry)
        elif entry.is_dir() and place.is_dir() and entry.name not in spared:
            _link_rest(entry, place, ())
