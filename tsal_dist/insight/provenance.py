"""Where the pseudo-labels of a run came from: how old they were, who made them, how well their sources agree.

What was trained on stands in the plan log; what was said of each frame stands in the queue's segments, as far as
they have not been collected yet.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.schema import SOURCES, Columns, Strings
from tsal_dist.pseudo.segment import decode_segment, verify_segment
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.pseudo.survey import living_segments
from tsal_dist.pseudo.topic import Topic, inspect_topic, segment_name
from tsal_dist.run_dir import RunDir

MOST_SEGMENTS = 200
"""Segments that are opened, evenly spread over the run: enough for a histogram."""


@dataclass
class Provenance:
    """Rows counted by what they were; distances of other sources from the heatmap's, in shares of the face."""

    fresh_by_lag: Counter[int] = field(default_factory=Counter)
    """Rows trained on for the first time, by how many student steps old they were."""
    reused_by_lag: Counter[int] = field(default_factory=Counter)
    by_version: Counter[int] = field(default_factory=Counter)
    by_producer: Counter[str] = field(default_factory=Counter)
    missing_rows: int = 0
    """Wanted and not there."""
    lost_by_reason: Counter[str] = field(default_factory=Counter)
    """Rows that were committed and never trained on."""
    dropped_by_video: Counter[str] = field(default_factory=Counter)
    """Those dropped as stale or repeated, up to the newest checkpoint. Dropping some videos more than others biases
    what is learnt."""
    steps: int = 0
    """Student steps that wanted pseudo-labels."""
    by_video: Counter[str] = field(default_factory=Counter)
    """Rows in the opened segments."""
    distances: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    valid: dict[str, list[float]] = field(default_factory=dict)
    opened: int = 0
    committed: int = 0
    """Segments: opened here, and written by the run."""

    @property
    def trained_rows(self) -> int:
        return self.fresh_by_lag.total() + self.reused_by_lag.total()


def read_provenance(run_dir: RunDir) -> Provenance | None:
    """What the files still tell; None for a run without pseudo-labels."""
    plans = run_dir.metrics("plan")
    queue = run_dir.queue("labels")
    if not plans.exists() or not (queue / "QUEUE.json").exists():
        return None
    found = Provenance()
    for plan in load_plans(plans):
        found.steps += 1
        found.missing_rows += plan.short_rows * len(plan.ranks)
        found.lost_by_reason.update(plan.reasons)
        for part in plan.ranges():
            lags = found.fresh_by_lag if part.use == 1 else found.reused_by_lag
            lags[plan.now_step - part.teacher_step] += len(part)
            found.by_version[part.teacher_step] += len(part)
            found.by_producer[part.producer] += len(part)
    found.dropped_by_video = _read_drops(run_dir)
    _open_segments(inspect_topic(PosixStore(queue)), found)
    return found


def _read_drops(run_dir: RunDir) -> Counter[str]:
    """As the planner of the newest checkpoint counted them; a replay has none."""
    checkpoints = Checkpoints.to_read(run_dir.checkpoints("student"))
    newest = checkpoints.latest_committed()
    planner = checkpoints.peek(newest, "planner") if newest is not None else None
    return Counter(planner.get("intake", {}).get("dropped_by_video", {})) if planner else Counter()


def _open_segments(topic: Topic, found: Provenance) -> None:
    records = list(living_segments(topic))
    found.committed = len(records)
    sources = topic.schema.sources
    columns = ("video", "box", *(f"{source}_{what}" for source in sources for what in ("xy", "valid")))
    for producer, record in records[:: max(1, len(records) // MOST_SEGMENTS)]:
        name = segment_name(producer, record.seq)
        try:
            data = topic.store.get(name)
            verify_segment(data, record.size, record.digest, name)
        except ExchangeError:
            continue  # collected, or quarantined: the queue has its own report of that
        _count(decode_segment(data, topic.schema, name, only=columns), sources, found)
        found.opened += 1


def _count(rows: Columns, sources: tuple[str, ...], found: Provenance) -> None:
    video = rows["video"]
    assert isinstance(video, Strings), "the schema says so"
    found.by_video.update(video.tolist())
    arrays = {name: np.asarray(column) for name, column in rows.items() if not isinstance(column, Strings)}
    box_N4 = arrays["box"]
    size_N = np.sqrt(np.maximum((box_N4[:, 2] - box_N4[:, 0]) * (box_N4[:, 3] - box_N4[:, 1]), 1.0))
    first = SOURCES[0]
    for source in sources:
        valid_NK = arrays[f"{source}_valid"].astype(bool)
        found.valid.setdefault(source, []).append(float(valid_NK.mean()))
        if source != first and first in sources:
            apart_NK = (
                np.linalg.norm(arrays[f"{source}_xy"] - arrays[f"{first}_xy"], axis=-1) / size_N[:, None]
            )
            both_NK = valid_NK & arrays[f"{first}_valid"].astype(bool)
            found.distances.setdefault(source, []).append(apart_NK[both_NK].astype(np.float64))
