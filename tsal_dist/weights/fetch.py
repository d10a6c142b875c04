"""The reading side: the newest version, or every version since the last one, verified."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.tenure import surviving
from tsal_dist.weights.format import Version, list_steps, list_versions, load_version, read_latest

logger = logging.getLogger(__name__)

_ATTEMPTS = 5  # a version may be collected between being named and being read; the next name is fresher
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Fetched:
    """A version with its tensors, on the CPU."""

    version: Version
    tensors: dict[str, Tensor]


class WeightReader:
    """Reads what the other role publishes in one folder. Every rank of the reading role may own one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def latest(self) -> int | None:
        """The step of the newest version, or None before the first."""
        versions = list_versions(self._folder)
        named = read_latest(self._folder)
        if named:  # a listing may be old
            versions[named[0]] = max(named[1], versions.get(named[0], 0))
        steps = surviving(versions)
        return steps[-1] if steps else None

    def versions_since(self, step: int) -> list[int]:
        """The steps after `step` that can still be fetched, oldest first: a recursive average wants them all."""
        return [other for other in list_steps(self._folder) if other > step]

    def fetch(self, step: int) -> Fetched | None:
        """Version `step`, or None if it has been collected: the reader was too late for it.

        ExchangeError if it is there and damaged.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return Fetched(*load_version(self._folder, step, self._owner(step)))
            except FileNotFoundError:
                if step not in list_versions(self._folder):
                    return None
                # Named by the folder and not there: it is being replaced, or this host's view is old.
                time.sleep(_PAUSE_S * 2**attempt)
        raise ExchangeError(
            f"Version {step} is listed in {self._folder} and cannot be opened. Is the folder on a filesystem "
            f"that both roles see?"
        )

    def _owner(self, step: int) -> int:
        """The incarnation of the process that wrote version `step`."""
        owner = list_versions(self._folder).get(step)
        named = read_latest(self._folder) if owner is None else None
        return owner if owner is not None else named[1] if named and named[0] == step else 0

    def fetch_latest(self) -> Fetched | None:
        """The newest version, or None before the first.

        A version that vanishes while it is read has been followed by a newer one: that one is taken.
        """
        for attempt in range(_ATTEMPTS):
            step = self.latest()
            if step is None:
                return None
            fetched = self.fetch(step)
            if fetched is not None:
                return fetched
            logger.info("version %d was gone before it was read, asking again", step)
            time.sleep(_PAUSE_S * 2**attempt)
        raise ExchangeError(
            f"The versions that LATEST names in {self._folder} vanish before they can be read. Raise "
            f"runtime.weights.keep or publish less often."
        )
