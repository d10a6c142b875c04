"""Rows that were trained on and may be trained on again, up to `max_reuse` times in all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tsal_dist.pseudo.step_plan import RowRange, cut


class ReusePool:
    """The last `limit_rows` rows that have uses left, clip by clip."""

    def __init__(self, max_reuse: int, limit_rows: int, unit: int) -> None:
        self.units: list[RowRange] = []
        """One clip each; `use` is how often it was trained on so far."""
        self._max_reuse = max_reuse
        self._limit = limit_rows // unit
        self._unit = unit

    def __len__(self) -> int:
        return len(self.units) * self._unit

    def add(self, parts: Sequence[RowRange]) -> None:
        """Take fresh rows that were just planned for the first time."""
        if self._max_reuse > 1:
            self.units += self._split(parts)
            del self.units[: max(0, len(self.units) - self._limit)]

    def remove(self, parts: Sequence[RowRange]) -> None:
        """Undo `add`."""
        gone = {(part.producer, part.seq, part.start) for part in self._split(parts)}
        self.drop(lambda part: (part.producer, part.seq, part.start) not in gone)

    def drop(self, keep: Callable[[RowRange], bool]) -> None:
        self.units = [part for part in self.units if keep(part)]

    def draw(self, rows: int, rng: np.random.Generator) -> list[RowRange]:
        """`rows` different rows, at random, each with the number of its coming use."""
        chosen = np.sort(rng.choice(len(self.units), rows // self._unit, replace=False)).tolist()
        drawn = [replace(self.units[place], use=self.units[place].use + 1) for place in chosen]
        for place, part in zip(chosen, drawn, strict=True):
            self.units[place] = part
        self.drop(lambda part: part.use < self._max_reuse)
        return drawn

    def state_dict(self) -> list[list[Any]]:
        return [part.to_list() for part in self.units]

    def load_state_dict(self, state: Sequence[Sequence[Any]]) -> None:
        self.units = [RowRange(*part) for part in state]

    def _split(self, parts: Sequence[RowRange]) -> list[RowRange]:
        return [
            cut(part, start, start + self._unit)
            for part in parts
            for start in range(part.start, part.stop, self._unit)
        ]
