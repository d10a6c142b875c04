"""The configuration reference, as one markdown page generated from the sections themselves."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tsal_dist.config.load import section_of
from tsal_dist.config.run import RunConfig

INTRO = """# Configuration

Written by `python tools/describe_config.py` from the classes in `tsal_dist/config`; edit those, not this page.

A run is described by TOML files merged left to right and then by dotted overrides:

    python -m tsal_dist.train --config configs/demo.toml --config my.toml train.optim.lr=1e-4

What a file does not say keeps the default below. An unknown key is an error that names the nearest known one.
"""


HEAD = "\n| key | values | default | meaning |\n|---|---|---|---|\n"


def describe(methods: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> str:
    """The whole page; `methods` are the classes of their own settings, by name."""
    tables = [*_tables(RunConfig, "")]
    for name, settings in methods.items():
        rows = list(_rows(settings.model_fields, settings().model_dump(mode="json")))
        tables += [
            f'\n## `[method]` with `name = "{name}"`\n\n{settings.__doc__}\n',
            *([HEAD, *rows] if rows else []),
        ]
    return INTRO + "".join(tables) + "\n"


def _tables(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """One table per section, outer before inner."""
    plain = {name: field for name, field in section.model_fields.items() if not section_of(field.annotation)}
    inner = {
        name: cls for name, field in section.model_fields.items() if (cls := section_of(field.annotation))
    }
    if plain:
        yield f"\n## `[{prefix.rstrip('.')}]`\n\n{section.__doc__}\n{HEAD}"
        yield from _rows(plain, _defaults(prefix))
    for name, cls in inner.items():
        yield from _tables(cls, f"{prefix}{name}.")


def _rows(fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any]) -> Iterator[str]:
    for name, field in fields.items():
        meaning = " ".join((field.description or "").split())
        yield f"| `{name}` | {_values(field)} | `{json.dumps(defaults[name])}` | {meaning} |\n"


def _defaults(prefix: str) -> dict[str, Any]:
    """Defaults as a run sees them: the same section may stand in two places with different ones."""
    tree: dict[str, Any] = RunConfig().model_dump(mode="json")
    for part in prefix.split(".")[:-1]:
        tree = tree[part]
    return tree


def _values(field: FieldInfo) -> str:
    """The type, and the bounds where there are any."""
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice or chr(34) * 2}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if get_origin(inner) is tuple:
            return f"list of [{', '.join(part.__name__ for part in get_args(inner))}]"
        return "list of " + (", ".join(f"`{choice}`" for choice in get_args(inner)) or inner.__name__)
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "multiple_of": "multiple of"}
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]
    return " ".join([kind.__name__, ", ".join(bounds)]).strip()
