"""A method in words: what it is, its settings, what it asks of whom, and what a label costs."""

from contextlib import suppress

from tsal_dist.errors import ConfigError
from tsal_dist.recipes.api import Task
from tsal_dist.recipes.find import Method, find_method

FACE = Task(points=68, crop_px=256, stride=4, radius=4, sigma_px=6.0, clip_frames=4)
"""What bytes are told of: a face of 68 points."""


def summary(name: str) -> str:
    """One line, the bytes, and what can be set."""
    method = find_method(name)
    known = ", ".join(method.settings.model_fields)
    lines = [method.line, _cost(method), *([f"settings: {known}"] if known else [])]
    return f"{name:24} " + f"\n{'':25}".join(lines)


def describe(name: str) -> str:
    """The line, every setting with its default, and the sources."""
    method = find_method(name)
    lines = [f"{name}: {method.line}", f"  {_cost(method)}"]
    with suppress(ConfigError):
        lines += [
            f"  asks {source.member} for {source.name} ({source.reading}, {source.views} view{'s' * (source.views > 1)})"
            for source in method.build({}, FACE).sources
        ]
    return "\n".join([*lines, *_settings(method)])


def _settings(method: Method) -> list[str]:
    told = []
    for key, field in method.settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        told.append(f"  method.{key} = {field.default!r}  {meaning}")
    return told


def _cost(method: Method) -> str:
    try:
        made = method.build({}, FACE)
    except ConfigError as error:
        return str(error)
    if not made.terms:
        return "no labels but the true ones"
    return f"{made.bytes_per_label(FACE.points) / 1000:.1f} kB per label of {FACE.points} points before compression"
