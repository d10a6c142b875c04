"""What is known of each trial, in plain values: what the table, the plots and the best config are made from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run_dir import RunDir, write_whole

WAITS, RUNS, PAUSED, DONE, STOPPED, FAILED = "waits", "runs", "paused", "done", "stopped", "failed"
SAVED = "saved"
"""Interrupted together with the sweep, which can be resumed."""
OVER = (DONE, STOPPED, FAILED)


@dataclass(frozen=True)
class TrialState:
    """One trial at one moment."""

    id: str
    values: Mapping[str, Any]
    """What it was given from the space."""
    status: str
    step: int
    value: float | None
    """The metric as it was last told."""
    best: float | None
    """The best it ever told."""
    seconds: float
    run: str
    """Its run directory."""
    failures: int = 0
    error: str = ""
    clones: int = 0
    """How often it went on from another trial's checkpoint."""


@dataclass(frozen=True)
class Metric:
    """What trials are compared by."""

    name: str
    mode: str

    def better(self, one: float, other: float) -> bool:
        return one < other if self.mode == "min" else one > other

    def best(self, values: Sequence[float]) -> float | None:
        finite = [value for value in values if math.isfinite(value)]
        return (min if self.mode == "min" else max)(finite, default=None)

    def rank(self, states: Sequence[TrialState]) -> list[TrialState]:
        """Best first; those without a number last."""
        sign = 1.0 if self.mode == "min" else -1.0
        return sorted(states, key=lambda state: math.inf if state.best is None else sign * state.best)

    def show(self, value: float | None) -> str:
        """NME is a share that people say in per cent."""
        if value is None or not math.isfinite(value):
            return "-"
        return f"{100 * value:.2f} %" if self.name.endswith("/nme") else f"{value:.5g}"


@dataclass
class Curves:
    """The metric over the steps of each run, read again only when a file has grown."""

    metric: str
    _known: dict[str, tuple[int, list[tuple[int, float]]]] = field(default_factory=dict)

    def of(self, run: str) -> list[tuple[int, float]]:
        path = RunDir(Path(run)).metrics("student")
        size = path.stat().st_size if path.exists() else 0
        if self._known.get(run, (-1, []))[0] != size:
            # At step 0 a run that began from another is worth what that was, whatever is tried here.
            lines = [
                line for line in read_metrics(path) if line.get(self.metric) is not None and line["step"]
            ]
            self._known[run] = (size, [(line["step"], float(line[self.metric])) for line in lines])
        return self._known[run][1]


def write_states(path: Path, states: Sequence[TrialState]) -> None:
    """For other programs: one object per trial."""
    write_whole(path, json.dumps([asdict(state) for state in states], indent=1, default=str).encode())
