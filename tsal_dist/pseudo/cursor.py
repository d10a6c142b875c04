"""The cursor of a consumer group: how far it has trained, and what its checkpoints still need.

c/<group>.json is advisory and has one writer, the group's planner. Producers read `trained` to know their backlog,
the collector reads `floor`. Both only ever err on the side of keeping: an old cursor holds back, it never lets go.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import Store
from tsal_dist.json_object import write_sealed
from tsal_dist.pseudo.topic import parse_json


@dataclass(frozen=True)
class Cursor:
    """What a group says of itself."""

    beat: str
    """Changes with every write; a group whose beat stands still is judged dead by the reader's own clock."""
    step: int
    trained: Mapping[str, int] = field(default_factory=dict)
    """Rows per producer that are trained or dropped, so that they count no longer as backlog."""
    floor: Mapping[str, int] = field(default_factory=dict)
    """Per producer the first segment that a kept checkpoint needs; a producer without entry needs all."""


def cursor_name(group: str) -> str:
    return f"c/{group}.json"


def save_cursor(store: Store, group: str, cursor: Cursor) -> None:
    store.replace(cursor_name(group), write_sealed(asdict(cursor)))


def load_cursor(store: Store, group: str) -> Cursor | None:
    """None for a group that exists by name alone."""
    name = cursor_name(group)
    text = parse_json(store, name)
    if not text:
        return None
    beat, step = text.get("beat"), text.get("step")
    if not isinstance(beat, str) or type(step) is not int:
        raise ExchangeError(
            f"{store.where(name)} says neither who writes it nor at which step. Was it edited by hand?"
        )
    return Cursor(
        beat, step, read_counts(text.get("trained"), store, name), read_counts(text.get("floor"), store, name)
    )


def read_counts(counts: Any, store: Store, name: str) -> dict[str, int]:
    """A whole number per producer, as the small files of the queue hold them."""
    if not isinstance(counts, dict) or any(
        type(number) is not int or number < 0 for number in counts.values()
    ):
        raise ExchangeError(
            f"{store.where(name)} does not give a whole number per producer. Was it edited by hand?"
        )
    return counts


def load_cursors(store: Store) -> dict[str, Cursor]:
    """Every group that has written; one without a word counts as needing everything."""
    found = {}
    for name in store.children("c"):
        group = name.removesuffix(".json")
        found[group] = load_cursor(store, group) or Cursor("", 0)
    return found
