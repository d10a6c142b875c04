"""What is searched: for every dotted key of the run config, the values it may take.

    [space]
    train.optim.lr = { loguniform = [1e-4, 1e-2] }
    method.views = { randint = [1, 3] }           # both ends belong to it
    method.absorb = { choice = ["queue", "ema"] }

Keys may be written dotted, quoted or as nested tables. Values reach a trial as the words of a command line would.
"""

import difflib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tsal_dist.config.load import to_toml
from tsal_dist.errors import ConfigError

CONTINUOUS = ("uniform", "loguniform")
RANGES = (*CONTINUOUS, "randint")
KINDS = (*RANGES, "choice", "grid")


@dataclass(frozen=True)
class Domain:
    """The values of one key: the two ends of a range, or a list to pick from."""

    kind: str
    values: tuple[Any, ...]

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values whose validity stands for that of all."""
        return self.values

    @property
    def all_values(self) -> tuple[Any, ...] | None:
        """Every value, where they can be counted."""
        if self.kind in CONTINUOUS:
            return None
        return tuple(range(self.values[0], self.values[1] + 1)) if self.kind == "randint" else self.values

    def sample(self, rng: random.Random) -> Any:
        """A value as a random search would draw it."""
        if self.kind == "uniform":
            return rng.uniform(*self.values)
        if self.kind == "loguniform":
            return math.exp(rng.uniform(math.log(self.values[0]), math.log(self.values[1])))
        if self.kind == "randint":
            return rng.randint(*self.values)
        return rng.choice(self.values)

    def clip(self, value: Any) -> Any:
        """The nearest value inside: mutation may step over the edge of a range."""
        if self.kind in RANGES:
            inside = min(max(value, self.values[0]), self.values[1])
            return round(inside) if self.kind == "randint" else inside
        return value

    def encode(self, value: Any) -> Any:
        """`value` as searchers can hold it: they know no lists."""
        return json.dumps(value) if isinstance(value, list) else value

    def decode(self, value: Any) -> Any:
        """What a searcher gives back, as a config knows it: no lists in disguise, and no numbers of numpy's."""
        if self.kind not in RANGES:
            return next(own for own in self.values if self.encode(own) == value)
        return round(value) if self.kind == "randint" else float(value)

    def describe(self) -> str:
        if self.kind in RANGES:
            return f"{self.kind} from {self.values[0]!r} to {self.values[1]!r}"
        return f"{self.kind} of {', '.join(json.dumps(value) for value in self.values)}"


def parse_space(tree: Mapping[str, Any]) -> dict[str, Domain]:
    """The domains of a TOML table, by dotted key. ConfigError names the key that is wrong."""
    return dict(_domains(tree, ""))


def _domains(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Domain]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if not isinstance(value, Mapping):
            raise ConfigError(f"space: {_misspelt(prefix, name, value)}")
        if len(value) == 1 and next(iter(value)) in KINDS:
            kind, values = next(iter(value.items()))
            yield key, _domain(key, kind, values)
        elif set(value) & set(KINDS):
            raise ConfigError(f"space: {key} has {sorted(value)}. Give exactly one of {', '.join(KINDS)}.")
        else:
            yield from _domains(value, f"{key}.")


def _misspelt(prefix: str, name: str, value: Any) -> str:
    near = difflib.get_close_matches(name, KINDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Write {{ choice = [...] }} or another of {KINDS}."
    return f"{prefix}{name} = {value!r} says no values to search.{hint}"


def _domain(key: str, kind: str, values: Any) -> Domain:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"space: {key} has {kind} = {values!r}. Give a list in brackets.")
    if kind not in RANGES:
        if len({to_toml(f"space: {key}", value) for value in values}) < len(values):
            raise ConfigError(f"space: {key} names a value twice in {values!r}. Remove one of them.")
        return Domain(kind, tuple(values))
    if len(values) != 2 or any(type(value) not in (int, float) for value in values):
        raise ConfigError(f"space: {key} has {kind} = {values!r}. A range is two numbers, [lowest, highest].")
    low, high = values
    if not low < high or not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"space: {key} has {kind} = {values!r}. The first number must be below the second.")
    if kind == "loguniform" and low <= 0:
        raise ConfigError(f"space: {key} has {kind} = {values!r}. Logarithms need numbers above zero.")
    if kind == "randint" and any(type(value) is not int for value in values):
        raise ConfigError(f"space: {key} has {kind} = {values!r}. Give whole numbers, or use uniform.")
    return Domain(kind, (low, high))
