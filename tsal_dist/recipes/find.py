"""A method by its name: one of this package, or anybody's (`plugins`): a file, a module, an installed package's.

Whatever it is, it is a function of settings and task that gives a Recipe; the class of its settings is read off its
first parameter.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

from tsal_dist.errors import ConfigError
from tsal_dist.plugins import find_place, list_offered
from tsal_dist.recipes.api import Recipe, Task

GROUP = "tsal_dist.recipes"
PACKAGED = (
    "supervised",
    "mean_teacher",
    "tsal",
    "companions",
    "multiaugs",
    "dual_mean_teacher",
    "teacher_reviewer_student",
    "feature_distillation",
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
        made = self.compose(self.read(given), task)
        if not isinstance(made, Recipe):
            raise ConfigError(
                f"The method {self.name!r} gave a {type(made).__name__}. Its function must give a tsal_dist.recipes.api.Recipe."
            )
        _check(self.name, made)
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
    hints = get_type_hints(compose)
    first = next((kind for key, kind in hints.items() if key != "return"), None)
    if not (isinstance(first, type) and issubclass(first, BaseModel)):
        raise ConfigError(
            f"{name!r}: the first parameter of {attribute}() must be annotated with the class of its settings, a subclass of "
            f"tsal_dist.config.section.Section, so that what stands in [method] can be checked."
        )
    return Method(name, compose, first)


def _check(name: str, made: Recipe) -> None:
    """Raise where parts do not fit together; one sentence each."""
    members, sources = list(made.panel), [source.name for source in made.sources]
    if not members:
        raise ConfigError(
            f"The method {name!r} has an empty panel. Give it a net, such as {{'teacher': Member(Newest())}}."
        )
    if not sources or len(set(sources)) < len(sources):
        raise ConfigError(f"The method {name!r} needs sources of different names, and it has {sources}.")
    for source in made.sources:
        if source.member not in made.panel:
            raise ConfigError(
                f"The method {name!r} asks {source.member!r} for the source {source.name!r}, and its panel has {members}."
            )
        if source.reading in ("patch", "candidates", "feature") and source.size < 1:
            raise ConfigError(
                f"The method {name!r}: the source {source.name!r} reads a {source.reading}, so its size must be at least 1."
            )
        if source.reading == "patch" and source.size % 2 == 0:
            raise ConfigError(
                f"The method {name!r}: the patch of {source.name!r} has {source.size} cells. Use an odd number: its point "
                f"lies in the middle one."
            )
    terms = [term.name for term in made.terms]
    if len(set(terms)) < len(terms) or {"heat", "center", "offset"} & set(terms):
        raise ConfigError(
            f"The method {name!r} has the terms {terms}; their names must differ from each other and from heat, center and "
            f"offset, which are the labels' own."
        )
