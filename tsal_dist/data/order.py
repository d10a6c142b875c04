"""The order of an epoch, and each rank's share of it, as pure functions.

The order depends on what is read (fingerprint), seed, epoch and window, and on nothing else: not on the number
of ranks, not on the number of workers. So a position in it is all that a resume needs, and another number of
ranks continues where the old one stopped.

Shards are shuffled, cut into windows of so many shards, and the clips of a window are shuffled together. Only
one window's permutation is ever held; a window as large as the set is a full shuffle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.seeded_rng import shuffled
from tsal_dist.errors import ConfigError, TopologyError

Ids = NDArray[np.int64]


class EpochOrder:
    """Sample ids of one epoch by position; ids count through the shards in manifest order."""

    def __init__(
        self, clips_per_shard: NDArray[np.int64], fingerprint: str, seed: int, epoch: int, window: int
    ) -> None:
        if window < 1:
            raise ConfigError(f"The shuffle window is {window} shards. Give at least 1.")
        self._identity = (fingerprint, seed, epoch, window)
        self._window = window
        self._size_S = np.asarray(clips_per_shard, dtype=np.int64)
        self._first_S = np.cumsum(self._size_S) - self._size_S
        self._shards = shuffled(len(self._size_S), *self._identity, "shards")
        ends = np.cumsum(self._size_S[self._shards])
        self._window_ends = np.append(ends[window - 1 : -1 : window], ends[-1:])
        self._held = -1
        self._held_ids = np.empty(0, np.int64)

    def __len__(self) -> int:
        return int(self._size_S.sum())

    def ids(self, positions: Ids) -> Ids:
        """The sample at each position; positions are cheap when they come in rising order."""
        found = np.empty(len(positions), np.int64)
        windows = np.searchsorted(self._window_ends, positions, side="right")
        for number in np.unique(windows):
            mine = windows == number
            start = self._window_ends[number - 1] if number else 0
            found[mine] = self._ids_of_window(int(number))[positions[mine] - start]
        return found

    def shards_from(self, position: int) -> list[int]:
        """The shards of the window at a position and of the one after it."""
        number = int(np.searchsorted(self._window_ends, position, side="right"))
        near = self._shards[number * self._window : (number + 2) * self._window]
        return [int(shard) for shard in near if self._size_S[shard]]

    def _ids_of_window(self, number: int) -> Ids:
        if number != self._held:
            shards = self._shards[number * self._window : (number + 1) * self._window]
            ids = np.concatenate([self._first_S[s] + np.arange(self._size_S[s]) for s in shards])
            self._held_ids = ids[shuffled(len(ids), *self._identity, "clips", number)]
            self._held = number
        return self._held_ids


class ListedOrder:
    """The same seat for evaluation: every epoch in the order of the manifest."""

    def __init__(self, clips_per_shard: NDArray[np.int64]) -> None:
        self._size_S = clips_per_shard
        self._ends = np.cumsum(clips_per_shard)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def ids(self, positions: Ids) -> Ids:
        return positions

    def shards_from(self, position: int) -> list[int]:
        """The shard at a position and the next one that has clips."""
        first = int(np.searchsorted(self._ends, position, side="right"))
        return [int(shard) for shard in range(first, len(self._ends)) if self._size_S[shard]][:2]


@dataclass(frozen=True)
class Stripe:
    """One rank's share of every global batch: `batch` positions of `batch * world`."""

    rank: int
    world: int
    batch: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise TopologyError(
                f"Rank {self.rank} does not fit a world of {self.world}. Give 0 <= rank < world."
            )
        if self.batch < 1:
            raise ConfigError(f"The batch has {self.batch} clips. Give at least 1.")

    @property
    def global_batch(self) -> int:
        return self.batch * self.world

    def steps(self, samples: int) -> int:
        """Steps that `samples` clips make, the same on every rank."""
        return -(-samples // self.global_batch)

    def positions(self, start: int, samples: int) -> tuple[Ids, Ids]:
        """This rank's positions of the global batch that begins at `start`; and how many epochs each lies behind that one, as
        a batch may be longer than what is left of it."""
        wanted = start + self.rank * self.batch + np.arange(self.batch, dtype=np.int64)
        return wanted % samples, wanted // samples
