"""A thing by its name where it may be anybody's: a training method, a detector.

`my_idea.py:recipe`       a file, from where the command runs
`package.module:recipe`   a module that can be imported
`name`                    what an installed package offers under an entry point group

What goes wrong in such a file is its author's to correct, so it is told as a setting's error is: in one sentence.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tsal_dist.errors import ConfigError

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What code raises that is not right."""


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


def file_of(module: ModuleType) -> str:
    """Where it was read from, or its name where that is nowhere."""
    return getattr(module, "__file__", None) or module.__name__


@contextmanager
def faults_in(file: str, trouble: str) -> Iterator[None]:
    """While somebody else's file is at work: what it raises, as a ConfigError that names the file and the line.

    `trouble` begins the sentence.
    """
    try:
        yield
    except FAULTS as error:
        raise ConfigError(f"{trouble}: {_tell(error, file)}. Correct it there.") from error


def _tell(error: Exception, file: str) -> str:
    """Its kind, the place nearest to it in the file, and what it says, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == file), None)
    said = str(error)
    if isinstance(error, SyntaxError) and error.filename == file:
        line, said = error.lineno, error.msg
    where = f"{file}, line {line}" if line else file
    return f"{type(error).__name__} in {where}: {' '.join(said.split()).rstrip('.')}"


def _import(place: str, name: str, setting: str) -> ModuleType:
    with faults_in(place, f"{setting} is {name!r}, which fails while it is imported"):
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
    whole = str(path.resolve())
    # Of the whole path: two files of one name are two modules, each found again by its own classes.
    name = f"tsal_plugin_{path.stem}_{sha256(whole.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look their module up
    with faults_in(whole, f"{setting} names a file that fails while it is loaded"):
        spec.loader.exec_module(module)
    return module
