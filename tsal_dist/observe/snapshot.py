"""A run at one moment, from its files alone: the same during the run, after it, and when it was killed.

Nothing is asked of a living process, so whoever sees the folder sees the run. Every file may be missing.
"""

import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsal_dist.config import RunConfig
from tsal_dist.exchange.beat import Beat, read_beat
from tsal_dist.exchange.exit_note import Ending, read_note
from tsal_dist.json_object import read_object
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run import load_run
from tsal_dist.run_dir import CREW, DONE, RunDir, whole_steps

TAIL_BYTES = 64 * 1024
"""Enough for some fifty lines of metrics: what happened lately."""
RECENT_LINES = 10
CREW_TRACE = re.compile(rf"(teacher-{CREW})(-\d+)?")
"""The stem of a file that a crew with a name leaves: its metrics, or a rank's heartbeat."""


@dataclass(frozen=True, kw_only=True)
class RankBeat(Beat):
    """A rank's last sign of life, and whose it is."""

    role: str
    rank: int


@dataclass(frozen=True)
class RoleState:
    """What is known of one role."""

    beats: tuple[RankBeat, ...]
    numbers: Mapping[str, float]
    """The newest value of every number that was written lately."""
    lines: tuple[Mapping[str, Any], ...]
    """The last lines of metrics."""
    checkpoint_step: int | None
    ending: Ending | None

    def recent(self, name: str) -> float | None:
        """Mean of a number over the last lines that have it: one line is one moment."""
        found = [line[name] for line in self.lines if line.get(name) is not None][-RECENT_LINES:]
        return statistics.fmean(found) if found else None

    def last_step(self, name: str) -> int | None:
        """The step at which a number was last written."""
        return next((line["step"] for line in reversed(self.lines) if line.get(name) is not None), None)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a look at the files tells."""

    name: str
    config: RunConfig
    student: RoleState
    teachers: Mapping[str, RoleState]
    """Every crew of teachers that ever came, by what files call it; the one without a name where none did."""
    stop: str
    """Why the student ended the run; empty while it goes on."""

    @property
    def roles(self) -> dict[str, RoleState]:
        """The student and every crew of teachers, by what files call them."""
        return {"student": self.student, **self.teachers}

    @property
    def step(self) -> int:
        """The student's, as it was last told."""
        # Rank 0's: the others beat seldom, and may be left of an earlier attempt that had more of them and was further.
        steps = [beat.step for beat in self.student.beats if beat.rank == 0 and beat.phase != DONE]
        lines = [line["step"] for line in self.student.lines[-1:]]
        return int(max([*steps, *lines, 0]))

    @property
    def steps_per_s(self) -> float | None:
        """Of the last lines, upkeep counted in."""
        rates = [line.get("speed/steps_per_s") for line in self.student.lines]
        found = [rate for rate in rates if rate][-RECENT_LINES:]
        return statistics.harmonic_mean(found) if found else None

    def of_teachers(self, name: str) -> float | None:
        """Mean of a number over the teachers lately: each crew's own, as often as it has ranks."""
        found = [(state.recent(name), max(1, len(state.beats))) for state in self.teachers.values()]
        known = [(value, ranks) for value, ranks in found if value is not None]
        return (
            sum(value * ranks for value, ranks in known) / sum(ranks for _, ranks in known) if known else None
        )

    def left_s(self, step: int) -> float | None:
        """Time to the last step at the present rate."""
        rate = self.steps_per_s
        return (self.config.train.steps - step) / rate if rate else None


def read_snapshot(run_dir: RunDir) -> Snapshot:
    """Look at a run. ConfigError where there is none."""
    config = load_run(run_dir.root).config
    return Snapshot(
        name=config.run.name or run_dir.root.name,
        config=config,
        student=_read_role(run_dir, "student"),
        teachers=_read_teachers(run_dir),
        stop=_read_text(run_dir.stop),
    )


def first_value(path: Path, name: str) -> float | None:
    """The first value of a number in a metrics file."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        for text in file:
            if f'"{name}"'.encode() in text and text.endswith(b"}\n"):
                return _numbers(text).get(name)
    return None


def read_beats(run_dir: RunDir, role: str) -> tuple[RankBeat, ...]:
    """The last heartbeat of every rank that ever had one, by rank."""
    found = []
    for path in run_dir.beats.glob(f"{role}-*.json"):
        beat, rank = read_beat(path.read_bytes()), path.stem.removeprefix(f"{role}-")
        if beat and rank.isdigit():  # the file is made before the first beat, by whoever waits for it
            found.append(RankBeat(**vars(beat), role=role, rank=int(rank)))
    return tuple(sorted(found, key=lambda beat: beat.rank))


def _read_teachers(run_dir: RunDir) -> dict[str, RoleState]:
    """A crew that has left a heartbeat or a line of metrics was there."""
    folders = {run_dir.beats, run_dir.metrics("teacher").parent}
    traces = [path.stem for folder in folders for path in folder.glob("teacher-*.json*")]
    names = {match[1] for stem in traces if (match := CREW_TRACE.fullmatch(stem))}
    found = {name: _read_role(run_dir, name) for name in ("teacher", *sorted(names))}
    there = {name: state for name, state in found.items() if state.beats or state.lines}
    return there or {"teacher": found["teacher"]}


def _read_role(run_dir: RunDir, role: str) -> RoleState:
    lines = read_metrics(run_dir.metrics(role), TAIL_BYTES)
    numbers: dict[str, float] = {}
    for line in lines:
        numbers |= {key: value for key, value in line.items() if is_number(value)}
    beats = read_beats(run_dir, role)
    if role == "student":
        beats += read_beats(run_dir, "inline")  # one process that is both
    plain = [{key: value for key, value in line.items() if _is_metric(value)} for line in lines]
    return RoleState(
        beats=beats,
        numbers=numbers,
        lines=tuple(plain),
        checkpoint_step=max(whole_steps(run_dir.checkpoints(role)), default=None),
        ending=read_note(run_dir.exit_note(role)),
    )


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_metric(value: Any) -> bool:
    """What a sink writes: a number, or none where it was not finite."""
    return value is None or is_number(value)


def _numbers(text: bytes) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in read_object(text).items() if is_number(value)}
    except ValueError:
        return {}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
