"""A JSON object out of a file that anyone may have written, or ValueError: nothing else ever comes of bad bytes."""

import json
from collections.abc import Mapping
from typing import Any


def read_object(text: str | bytes) -> dict[str, Any]:
    """What `text` says, if it is one object."""
    try:
        page = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(page, dict):
        raise ValueError(f"it is not an object but {'null' if page is None else type(page).__name__}")
    return page


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, by dotted names; an empty one has none."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat
