"""A thing by its name where it may be anybody's: a training method, a detector.

`my_idea.py:recipe`       a file, from where the command runs
`package.module:recipe`   a module that can be imported
`name`                    what an installed package offers under an entry point group
"""

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tsal_dist.errors import ConfigError


class Place(NamedTuple):
    """Where it is."""

    module: ModuleType
    attribute: str


def list_offered(group: str) -> list[str]:
    """Names that installed packages offer."""
    return sorted({offered.name for offered in entry_points(group=group)})


def find_place(name: str, setting: str, group: str) -> Place | None:
    """The place of a file, a module or an offered name; None for a name that nobody offers.

    `setting` is what an error calls it.
    """
    if ":" in name:
        place, _, attribute = name.rpartition(":")
        module = _load_file(Path(place), setting) if place.endswith(".py") else _import(place, name, setting)
        return Place(module, attribute)
    for offered in entry_points(group=group, name=name):
        place, _, attribute = offered.value.partition(":")
        return Place(_import(place, name, setting), attribute)
    return None


def _import(place: str, name: str, setting: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise ConfigError(
            f"{setting} is {name!r}, and {place!r} cannot be imported: {error}. Install it, or name a file (my_idea.py:name)."
        ) from error


def _load_file(path: Path, setting: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(
            f"{setting} names the file {str(path)!r}, which is not there. Paths are from where the command runs ({Path.cwd()})."
        )
    name = f"tsal_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look their module up
    spec.loader.exec_module(module)
    return module
