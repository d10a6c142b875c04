"""A JSON object out of a file that anyone may have written, or ValueError: nothing else ever comes of bad bytes."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

SEAL = "seal"
"""The key under which a page holds its checksum."""


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


def if_finite(value: float) -> float | None:
    """JSON has no word for a number that is not finite, and other readers refuse Python's."""
    return value if math.isfinite(value) else None


def write_sealed(page: Mapping[str, Any]) -> bytes:
    """`page` as text that carries its own checksum; `read_sealed` is the inverse."""
    return json.dumps({**page, SEAL: _checksum(page)}, separators=(",", ":"), allow_nan=False).encode()


def read_sealed(text: str | bytes) -> dict[str, Any]:
    """As `read_object`, and ValueError where the page is not the one that was sealed.

    A page without a seal is taken as it is: one flipped bit cannot both lose the seal and change anything else, and
    people and older versions write none.
    """
    page = read_object(text)
    seal = page.pop(SEAL, None)
    if seal is not None and seal != _checksum(page):
        raise ValueError("its checksum does not match: it was damaged, or edited")
    return page


def _checksum(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()[:16]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, by dotted names; an empty one has none."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat
