"""Whether the parts of a recipe fit together: one sentence where they do not.

This is what can be told before there is any data. What a labeller gives is looked at when it gives it (`target`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.center import MOST_FACES
from tsal_dist.models.views import views_of
from tsal_dist.recipes.api import Member, Reading, Recipe, Source, Task

OWN_TERMS = {"heat", "center", "offset"}
"""Names of the labels' own terms."""
SIZED = ("candidates", "patch", "feature")
"""Readings that bring something more for each point, of a size to be named."""
PEAKS = ("heatmap", *SIZED)
"""Readings whose scores are heights of the highest peaks."""


class _Part(NamedTuple):
    """What a part has, and what would be one."""

    has: tuple[str, ...]
    such: str


_LABEL = _Part(
    ("__call__", "moments", "observe", "state_dict", "load_state_dict"),
    "a function that remembers nothing becomes one as Plain(function)",
)
_MIX = _Part(
    ("__call__",), "such as Covered(patches=2), and of several mixes one as Several((...)) or InTurn((...))"
)
_STUDENT = _Part(("detector", "build", "outputs"), "such as Twin()")
_LEARN = _Part(("__call__", "weights", "steps", "lr_share"), "such as RebuiltFrames(task)")
_CALLED = _Part(("__call__",), "such as a function")
_TERM = _Part(("name", "weight", "__call__"), "such as TargetHeatmaps()")
_FOLLOW = _Part(("every_version", "follow", "absorb", "state_dict", "load_state_dict"), "such as Newest()")


def check_recipe(name: str, made: Recipe, task: Task) -> None:
    """Raise ConfigError for the first part that is not one, or that another part does not go with."""
    _check_parts(name, made)
    _check_panel(name, made.panel)
    _check_sources(name, made, task)
    _check_terms(name, made)


def _check_parts(name: str, made: Recipe) -> None:
    _require(name, "label", made.label, _LABEL)
    _require(name, "mix", made.mix, _MIX)
    _require(name, "student", made.student, _STUDENT)
    if made.learn is not None:
        _require(name, "learn", made.learn, _LEARN)
    for what in ("after", "note"):
        _require(name, what, getattr(made, what), _CALLED)
    # A class may well be what is called here: a context manager, dict.
    for what in ("around", "choose", "extra"):
        if not callable(getattr(made, what)):
            raise ConfigError(
                f"The method {name!r}: {what} is {getattr(made, what)!r}, which cannot be called. Give it a function."
            )
    if made.publishes not in ("student", "average"):
        raise ConfigError(
            f"The method {name!r} publishes {made.publishes!r}. Say 'average', or 'student' for the weights themselves."
        )
    for what, value in (("sources", made.sources), ("terms", made.terms)):
        if not isinstance(value, tuple | list):
            raise ConfigError(
                f"The method {name!r}: {what} is {_kind(value)} and must be a tuple, even of a single one: (one,) with a comma."
            )


def _check_panel(name: str, panel: Mapping[str, Member]) -> None:
    if not isinstance(panel, Mapping) or not panel:
        told = "an empty panel" if isinstance(panel, Mapping) else f"{_kind(panel)} as its panel"
        raise ConfigError(
            f"The method {name!r} has {told}. Give it a net by name, such as {{'teacher': Member(Newest())}}."
        )
    for key, member in panel.items():
        if not isinstance(member, Member):
            raise ConfigError(
                f"The method {name!r}: panel[{key!r}] is {_kind(member)} and must be a Member, which says how a net follows: "
                f"Member(Newest())."
            )
        _require(name, f"panel[{key!r}].follow", member.follow, _FOLLOW)


def _check_sources(name: str, made: Recipe, task: Task) -> None:
    for source in made.sources:
        if not isinstance(source, Source):
            raise ConfigError(
                f"The method {name!r}: sources has {_kind(source)} in it. Each must be a Source, such as Source('heatmap')."
            )
    names = [source.name for source in made.sources]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"The method {name!r} needs sources of different names, and it has {names}.")
    for source in made.sources:
        if source.member not in made.panel:
            raise ConfigError(
                f"The method {name!r} asks {source.member!r} for the source {source.name!r}, and its panel has "
                f"{list(made.panel)}."
            )
        told = f"The method {name!r}: the source {source.name!r}"
        _check_reading(told, source, task)
        first = next(iter(made.panel))
        of_peaks = source.member == first and source.reading in PEAKS and source.views == 1
        if source.states_error and not of_peaks:
            raise ConfigError(
                f"{told} states errors and is the {source.reading} of {source.member!r} in {source.views} views. What a score "
                f"means is measured of the highest peaks of the panel's first net, {first!r}, in one view: ask that one, for "
                f"one of {', '.join(PEAKS)}."
            )


def _check_reading(told: str, source: Source, task: Task) -> None:
    reading, size = source.reading, source.size
    if reading not in get_args(Reading):
        raise ConfigError(f"{told} reads {reading!r}. The readings are {', '.join(get_args(Reading))}.")
    if source.views < 1:
        raise ConfigError(f"{told} has {source.views} views. One is the frame as it is.")
    if source.views > 1 and reading == "center":
        raise ConfigError(
            f"{told} has {source.views} views and reads a center, which is read off one view alone. Leave views out, or "
            f"read 'heatmap'."
        )
    there = len(views_of(task.mirror_K))
    if source.views > there:
        mirrored = "" if task.mirror_K else " of landmarks that nobody knows the mirror image of"
        raise ConfigError(
            f"{told} has {source.views} views, and there are {there}{mirrored}. Use at most so many."
        )
    if reading not in SIZED:
        if size:
            raise ConfigError(
                f"{told} has size={size}, and a {reading} adds nothing to its points. Leave it out."
            )
    elif size < 1:
        raise ConfigError(f"{told} reads a {reading}, so its size must be at least 1.")
    if reading == "patch" and size % 2 == 0:
        raise ConfigError(
            f"{told} reads a patch of {size} cells. Use an odd number: its point lies in the middle one."
        )
    most = min(MOST_FACES, (task.crop_px // task.stride) ** 2)
    if reading == "candidates" and size > most:
        raise ConfigError(
            f"{told} reads {size} candidates, and a map of centres gives {most} at most. Ask for fewer."
        )


def _check_terms(name: str, made: Recipe) -> None:
    for place, term in enumerate(made.terms):
        _require(name, f"terms[{place}]", term, _TERM)
    names = [term.name for term in made.terms]
    if len(set(names)) < len(names) or OWN_TERMS & set(names):
        raise ConfigError(
            f"The method {name!r} has the terms {names}; their names must differ from each other and from heat, center and "
            f"offset, which are the labels' own."
        )


def _require(name: str, what: str, value: Any, part: _Part) -> None:
    missing = [one for one in part.has if getattr(value, one, None) is None]
    if isinstance(value, type) or missing:
        lacks = "" if isinstance(value, type) else f" without {' and '.join(missing)}"
        raise ConfigError(
            f"The method {name!r}: {what} is {_kind(value)}{lacks}. It must be an object with {', '.join(part.has)}: {part.such}."
        )


def _kind(value: Any) -> str:
    """What something is, in two words."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
