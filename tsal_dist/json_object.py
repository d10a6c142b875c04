"""A JSON object out of a file that anyone may have written, or ValueError: nothing else ever comes of bad bytes."""

import json
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
