"""The reading side: every version since the last one, or the newest of them, verified."""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from tsal_dist.dist.collectives import broadcast_json, broadcast_tensors, world_size
from tsal_dist.errors import ExchangeError
from tsal_dist.weights.format import Version, list_steps, list_versions, load_version

logger = logging.getLogger(__name__)

_ATTEMPTS = 5  # a listed version may be under way: it is being replaced, or this host's view is old
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Fetched:
    """A version with its tensors, on the CPU."""

    version: Version
    tensors: dict[str, Tensor]


def hand_on(fetched: Fetched | None) -> Fetched | None:
    """What rank 0 has fetched, on every rank of its role; the others pass None. Collective.

    A version is read once for all: many ranks that read it by themselves would ask one filesystem for the same bytes at
    the same moment.
    """
    if world_size() == 1:
        return fetched
    about = broadcast_json(asdict(fetched.version) if fetched else None)
    if about is None:
        return None
    return Fetched(Version(**about), broadcast_tensors(fetched.tensors if fetched else {}))


class WeightReader:
    """Reads what the other role publishes in one folder; rank 0 of the reading role does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def versions_since(self, step: int) -> list[int]:
        """The steps after `step` that can still be fetched, oldest first: a recursive average wants them all."""
        return [other for other in list_steps(self._folder) if other > step]

    def fetch(self, step: int) -> Fetched | None:
        """Version `step`, or None if it has been collected: the reader was too late for it.

        ExchangeError if it is there and damaged.
        """
        for attempt in range(_ATTEMPTS):
            owner = list_versions(self._folder).get(step, 0)
            try:
                return Fetched(*load_version(self._folder, step, owner))
            except FileNotFoundError:
                if step not in list_versions(self._folder):
                    return None
                # Named by the folder and not there: it is being replaced, or this host's view is old.
                time.sleep(_PAUSE_S * 2**attempt)
        raise ExchangeError(
            f"Version {step} is listed in {self._folder} and cannot be opened. Is the folder on a filesystem "
            f"that both roles see?"
        )
