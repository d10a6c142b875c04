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

from tsal_dist.config.load import build_config
from tsal_dist.config.method import ALONE
from tsal_dist.errors import ConfigError
from tsal_dist.exchange.beat import read_beat
from tsal_dist.json_object import read_object
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run_dir import CREW, RunDir

TAIL_BYTES = 64 * 1024
"""Enough for some fifty lines of metrics: what happened lately."""
RECENT_LINES = 10
CREW_TRACE = re.compile(rf"(teacher-{CREW})(-\d+)?")
"""The stem of a file that a crew with a name leaves: its metrics, or a rank's heartbeat."""


@dataclass(frozen=True)
class Beat:
    """A rank's last sign of life. It holds no time: whether it is alive shows by looking twice."""

    role: str
    rank: int
    incarnation: int
    seq: int
    phase: str
    step: int
    memory: Mapping[str, float]


@dataclass(frozen=True)
class Ending:
    """The note that an attempt of a role left."""

    code: int
    reason: str
    attempt: int


@dataclass(frozen=True)
class RoleState:
    """What is known of one role."""

    beats: tuple[Beat, ...]
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
    config: Mapping[str, Any]
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
    def reads_labels(self) -> bool:
        train = self.config["train"]
        taught = train["loss"]["unlabelled"] > 0 and train["unlabelled_batch"] > 0
        return bool(self.config["method"]["name"] != ALONE and taught)

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher takes part; a replay and a student of another run's log have none."""
        runtime = self.config["runtime"]
        return self.reads_labels and not (runtime["replay"] or runtime["offline"])

    @property
    def total_steps(self) -> int:
        return int(self.config["train"]["steps"])

    @property
    def step(self) -> int:
        """The student's, as it was last told."""
        # Rank 0's: the others beat seldom, and may be left of an earlier attempt that had more of them and was further.
        steps = [beat.step for beat in self.student.beats if beat.rank == 0 and beat.phase != "done"]
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
        return (self.total_steps - step) / rate if rate else None


def read_snapshot(run_dir: RunDir) -> Snapshot:
    """Look at a run. ConfigError where there is none."""
    if not run_dir.run_json.exists():
        raise ConfigError(
            f"{run_dir.root} holds no run.json, so it is not a run. Name the folder that training printed, "
            f"such as runs/demo."
        )
    try:
        written = read_object(run_dir.run_json.read_bytes())
        settings = dict(written["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{run_dir.run_json} is damaged ({error}). Restore it from a copy.") from None
    config = build_config(settings, str(run_dir.run_json)).model_dump(mode="json")
    return Snapshot(
        name=config["run"]["name"] or run_dir.root.name,
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


def checkpoint_steps(run_dir: RunDir, role: str) -> list[int]:
    """Steps of the role's whole checkpoints, oldest first."""
    found = [
        path.parent.name.removeprefix("step_") for path in run_dir.checkpoints(role).glob("step_*/COMMIT")
    ]
    return sorted(int(step) for step in found if step.isascii() and step.isdigit())


def read_beats(run_dir: RunDir, role: str) -> tuple[Beat, ...]:
    """The last heartbeat of every rank that ever had one, by rank."""
    found = []
    for path in run_dir.beat(role, 0).parent.glob(f"{role}-*.json"):
        text, rank = read_beat(path.read_bytes()), path.stem.removeprefix(f"{role}-")
        if text and rank.isdigit():  # the file is made before the first beat, by whoever waits for it
            told = {name: text[name] for name in ("incarnation", "seq", "phase", "step", "memory")}
            found.append(Beat(role, int(rank), **told))
    return tuple(sorted(found, key=lambda beat: beat.rank))


def _read_teachers(run_dir: RunDir) -> dict[str, RoleState]:
    """A crew that has left a heartbeat or a line of metrics was there."""
    folders = {run_dir.beat("teacher", 0).parent, run_dir.metrics("teacher").parent}
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
    steps = checkpoint_steps(run_dir, role)
    beats = read_beats(run_dir, role)
    if role == "student":
        beats += read_beats(run_dir, "inline")  # one process that is both
    plain = [{key: value for key, value in line.items() if _is_metric(value)} for line in lines]
    return RoleState(
        beats=beats,
        numbers=numbers,
        lines=tuple(plain),
        checkpoint_step=steps[-1] if steps else None,
        ending=_read_ending(run_dir.exit_note(role)),
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


def _read_ending(path: Path) -> Ending | None:
    """Notes are written whole, so a damaged one is as good as none."""
    try:
        note = read_object(path.read_bytes())
        ending = Ending(note["code"], note["reason"], note["attempt"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
    fits = type(ending.code) is int and isinstance(ending.reason, str) and type(ending.attempt) is int
    return ending if fits else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
