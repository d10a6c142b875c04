"""A tracker by its name."""

from collections.abc import Callable

from tsal_dist.errors import ConfigError
from tsal_dist.trackers.dis import DisTracker
from tsal_dist.trackers.flow import Tracker
from tsal_dist.trackers.lk import LkTracker
from tsal_dist.trackers.pwc import PwcTracker

_TRACKERS: dict[str, Callable[[int], Tracker]] = {
    "dis": DisTracker,
    "lk": LkTracker,
    "pwc": lambda threads: PwcTracker(),
}


def build_tracker(kind: str, threads: int = 0) -> Tracker:
    """A tracker on the CPU; `pwc` is a module whose parameters want training. `threads` are those of the others; 0
    takes as many as torch computes with."""
    if kind not in _TRACKERS:
        raise ConfigError(
            f"model.tracker.kind is {kind!r}; it must be one of {', '.join(sorted(_TRACKERS))}."
        )
    return _TRACKERS[kind](threads)
