"""A method by its name: one of this package, or anybody's (`plugins`): a file, a module, an installed package's.

Whatever it is, it is a function of settings and task that gives a Recipe; the class of its settings is read off its
first parameter.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

from tsal_dist.errors import ConfigError
from tsal_dist.plugins import faults_in, file_of, find_place, list_offered
from tsal_dist.recipes.api import Recipe, Task
from tsal_dist.recipes.check import check_recipe

GROUP = "tsal_dist.recipes"
PACKAGED = (
    "supervised",
    "mean_teacher",
    "tsal",
    "calibrated",
    "companions",
    "multiaugs",
    "dual_mean_teacher",
    "teacher_reviewer_student",
    "feature_distillation",
    "quantized_distillation",
)


@dataclass(frozen=True)
class Method:
    """A method, found but not yet built."""

    name: str
    compose: Callable[[Any, Task], Recipe]
    settings: type[BaseModel]

    @property
    def line(self) -> str:
        """What it is, in the first line of its file or function."""
        told = sys.modules[self.compose.__module__].__doc__ or self.compose.__doc__ or ""
        return told.strip().splitlines()[0] if told.strip() else ""

    def read(self, given: Mapping[str, Any]) -> BaseModel:
        """The method's settings from what was written beside its name; a key that it does not have is an error."""
        try:
            return self.settings.model_validate(dict(given))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False)[0]
            key = ".".join(["method", *(str(part) for part in problem["loc"])])
            if problem["type"] == "extra_forbidden":
                own = ", ".join(self.settings.model_fields) or "no settings at all"
                raise ConfigError(f"The method {self.name!r} has no setting {key!r}; it has {own}.") from None
            raise ConfigError(
                f"{key} = {problem['input']!r} is not valid for the method {self.name!r}: {problem['msg']}."
            ) from None

    def build(self, given: Mapping[str, Any], task: Task) -> Recipe:
        """The parts, made anew: what they remember is the caller's own."""
        settings = self.read(given)
        with _faults(self.name, sys.modules[self.compose.__module__]):
            made = self.compose(settings, task)
        if not isinstance(made, Recipe):
            raise ConfigError(
                f"The method {self.name!r} gave a {type(made).__name__}. Its function must give a tsal_dist.recipes.api.Recipe."
            )
        check_recipe(self.name, made, task)
        return made


def find_method(name: str) -> Method:
    """The method of that name, or ConfigError that says what there is."""
    if name in PACKAGED:
        return _method(name, importlib.import_module(f"tsal_dist.recipes.{name}"), "recipe")
    if place := find_place(name, "method.name", GROUP):
        return _method(name, *place)
    raise ConfigError(
        f"method.name is {name!r}, and there is no such method. There are {', '.join(list_names())}; a file of your own is "
        f"named as my_idea.py:recipe."
    )


def list_names() -> list[str]:
    """Methods that need no path: this package's, and those that other installed packages offer."""
    return [*PACKAGED, *(name for name in list_offered(GROUP) if name not in PACKAGED)]


def _method(name: str, module: ModuleType, attribute: str) -> Method:
    compose = getattr(module, attribute, None)
    if not callable(compose):
        raise ConfigError(
            f"{name!r}: {module.__name__} has no function {attribute!r}. Write `def {attribute}(settings: Settings, task: "
            f"Task) -> Recipe` into it."
        )
    with _faults(name, module):
        hints = get_type_hints(compose)
    first = next((kind for key, kind in hints.items() if key != "return"), None)
    if not (isinstance(first, type) and issubclass(first, BaseModel)):
        raise ConfigError(
            f"{name!r}: the first parameter of {attribute}() must be annotated with the class of its settings, a subclass of "
            f"tsal_dist.config.section.Section, so that what stands in [method] can be checked."
        )
    return Method(name, compose, first)


def _faults(name: str, module: ModuleType) -> AbstractContextManager[None]:
    """Somebody else's faults are told in a sentence; this package's own are defects, and keep their traceback."""
    if name in PACKAGED:
        return nullcontext()
    return faults_in(file_of(module), f"The method {name!r} cannot be composed")
