"""How a run is, from its files alone: who is alive, what waits between the roles, what is wrong, what would help.

Liveness shows by looking twice: a heartbeat that moved between two looks is a living process. File times only say
since when a silent one is silent; they decide nothing, since clocks of hosts disagree.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tsal_dist.clock import format_time
from tsal_dist.errors import ExchangeError, ExitCode
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.insight.bottleneck import LabelSupply, find_alarms, give_verdict
from tsal_dist.observe.panel import Row
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.observe.snapshot import TAIL_BYTES, RankBeat, Snapshot, first_value, read_snapshot
from tsal_dist.pseudo.cursor import load_cursors
from tsal_dist.pseudo.log import RECORD_BYTES, Kind, LogReader, Record, log_name
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.pseudo.topic import Topic, inspect_topic, list_producers, read_meta
from tsal_dist.run_dir import DONE, RunDir

State = Literal["alive", "quiet", "silent", "finished", "stopped"]
LOOK_S = 2.5
"""Between two looks: more than two heartbeats of a healthy loop."""
RECENT_PLANS = 50


@dataclass(frozen=True)
class RankState:
    """One rank. `quiet`: its heartbeat stands still, though not yet for longer than the deadline allows."""

    beat: RankBeat
    state: State
    silent_s: float

    def text(self) -> str:
        name = f"{self.beat.role} {self.beat.rank}"
        if self.state == "alive":
            held = self.beat.memory.get("memory/rss_gb")
            return f"{name} alive ({self.beat.phase}{f', {held:.1f} GB' if held else ''})"
        if self.state in ("quiet", "silent"):
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - self.silent_s))
            return f"{name} {self.state} for {format_time(self.silent_s)}, since about {since} ({self.beat.phase})"
        return f"{name} {self.state}"


@dataclass(frozen=True)
class ProducerState:
    """What one teacher rank's life has put into the label queue."""

    name: str
    segments: int
    rows: int
    last_version: int
    sealed: bool


@dataclass(frozen=True)
class Queue:
    """The label queue as its own files have it: true also when the student is dead."""

    producers: tuple[ProducerState, ...]
    waiting_rows: int
    """Committed and not yet trained on or dropped, by the student's last cursor."""
    quarantined_segments: int


@dataclass(frozen=True)
class Status:
    """The answer, for a person (`rows`) and for programs (`to_json`)."""

    snapshot: Snapshot
    ranks: tuple[RankState, ...]
    queue: Queue | None
    usage: LabelSupply
    free_gb: float
    alarms: tuple[str, ...]
    verdict: str

    @property
    def over(self) -> bool:
        """Whether every rank has said goodbye or left a note."""
        return all(rank.state in ("finished", "stopped") for rank in self.ranks) and bool(self.ranks)

    @property
    def going(self) -> bool:
        """Whether somebody may still be at work."""
        return any(rank.state in ("alive", "quiet") for rank in self.ranks)

    def alarm_rows(self) -> list[Row]:
        return [Row("ALARM", text, "bold red") for text in self.alarms]

    def rows(self) -> list[Row]:
        """What the panel cannot know: who lives, the queue's files, the verdict."""
        found = [Row("ranks", "; ".join(rank.text() for rank in self.ranks) or "nobody has come yet")]
        if self.queue:
            rows = sum(one.rows for one in self.queue.producers)
            found.append(
                Row(
                    "labels",
                    f"{rows} rows in {sum(one.segments for one in self.queue.producers)} segments of "
                    f"{len(self.queue.producers)} producers, {self.queue.waiting_rows} rows not trained on",
                )
            )
        for role, state in self.snapshot.roles.items():
            if state.ending:
                found.append(Row(f"{role} end", f"{state.ending.reason} (exit code {state.ending.code})"))
        return [*found, Row("disk", f"{self.free_gb:.1f} GB free"), Row("verdict", self.verdict, "bold")]

    def to_json(self) -> dict[str, Any]:
        snapshot = self.snapshot
        return {
            "name": snapshot.name,
            "step": snapshot.step,
            "total_steps": snapshot.config.train.steps,
            "steps_per_s": snapshot.steps_per_s,
            "left_s": snapshot.left_s(snapshot.step) if self.going else None,
            "ranks": [
                {**asdict(one.beat), "state": one.state, "silent_s": one.silent_s} for one in self.ranks
            ],
            "student": dict(snapshot.student.numbers),
            **{crew: dict(state.numbers) for crew, state in snapshot.teachers.items()},
            "checkpoints": {role: state.checkpoint_step for role, state in snapshot.roles.items()},
            "endings": {role: asdict(state.ending) for role, state in snapshot.roles.items() if state.ending},
            "queue": asdict(self.queue) if self.queue else None,
            "labels_lately": asdict(self.usage),
            "free_gb": self.free_gb,
            "over": self.over,
            "alarms": list(self.alarms),
            "verdict": self.verdict,
        }


class Watcher:
    """Looks at one run again and again, and remembers when each heartbeat last moved."""

    def __init__(
        self,
        run_dir: RunDir,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._sleep = sleep
        self._seen: dict[tuple[str, int], tuple[RankBeat, float, bool]] = {}
        """Beat, when it was first seen, and whether it has ever moved under our eyes."""

    def look_twice(self) -> Status:
        """A look that can tell the living from the dead; at once where everybody has left."""
        status = self.look()
        if status.over or not status.ranks:
            return status
        self._sleep(LOOK_S)
        return self.look()

    def look(self) -> Status:
        """One look. A first one cannot know who is alive."""
        snapshot = read_snapshot(self._run_dir)
        beats = [beat for state in snapshot.roles.values() for beat in state.beats]
        moving = {(beat.role, beat.rank) for beat in beats if self._moves(beat, snapshot)}
        alive = {role for role, rank in moving if rank == 0}
        snapshot = _without_old_notes(snapshot, alive)
        ranks = _without_old_ranks([self._judge(beat, snapshot) for beat in beats], alive)
        queue, usage = read_queue(self._run_dir), read_label_supply(self._run_dir)
        free = shutil.disk_usage(self._run_dir.root)
        alarms = find_alarms(
            snapshot,
            silent=[rank.text() for rank in ranks if rank.state == "silent"],
            quarantined=queue.quarantined_segments if queue else 0,
            first_peak=first_value(self._run_dir.metrics("student"), "unlabelled/peak_mean"),
            free_gb=free.free / 1e9,
            free_share=free.free / free.total,
        )
        verdict = _ended(snapshot, ranks) or give_verdict(snapshot, usage)
        return Status(snapshot, ranks, queue, usage, free.free / 1e9, tuple(alarms), verdict)

    def _moves(self, beat: RankBeat, snapshot: Snapshot) -> bool:
        """Take in a heartbeat; whether its rank is alive."""
        now, key = self._clock(), (beat.role, beat.rank)
        before = self._seen.get(key)
        if before is None or before[0] != beat:
            self._seen[key] = beat, now, before is not None
        _, since, lives = self._seen[key]
        limit_s = _silent_s(snapshot)
        return beat.phase != DONE and lives and now - since < min(limit_s, max(limit_s / 4, 2 * LOOK_S))

    def _judge(self, beat: RankBeat, snapshot: Snapshot) -> RankState:
        """What to call a rank whose heartbeat was taken in."""
        _, since, lives = self._seen[beat.role, beat.rank]
        still_s = self._clock() - since
        ending = snapshot.teachers.get(beat.role, snapshot.student).ending
        if beat.phase == DONE:
            return RankState(beat, "stopped" if ending and ending.code != ExitCode.DONE else "finished", 0.0)
        if self._moves(beat, snapshot):
            return RankState(beat, "alive", still_s)
        if ending and still_s >= LOOK_S:  # it may be an earlier attempt's: one look cannot know
            return RankState(beat, "stopped", 0.0)
        file = self._run_dir.beat(beat.role, beat.rank)
        silent_s = still_s if lives else max(still_s, time.time() - file.stat().st_mtime)
        return RankState(beat, "silent" if silent_s > _silent_s(snapshot) else "quiet", silent_s)


def _silent_s(snapshot: Snapshot) -> float:
    return float(snapshot.config.runtime.deadlines.silent_s)


def _without_old_notes(snapshot: Snapshot, alive: set[str]) -> Snapshot:
    """A note is rank 0's last act: where that one is `alive`, it is of an earlier attempt."""
    student = replace(snapshot.student, ending=None) if alive & {"student", "inline"} else snapshot.student
    teachers = {
        name: replace(state, ending=None) if name in alive else state
        for name, state in snapshot.teachers.items()
    }
    return replace(snapshot, student=student, teachers=teachers)


def _without_old_ranks(ranks: list[RankState], alive: set[str]) -> tuple[RankState, ...]:
    """A run may go on with fewer processes, or spread otherwise. The ranks of a role meet all the time: where its rank 0 is
    `alive`, one that is not is of an earlier attempt. So is every role beside processes that are both, and they beside it."""

    def is_old(rank: RankState) -> bool:
        role = rank.beat.role
        replaced = role in alive or "inline" in alive or (role == "inline" and "student" in alive)
        return replaced and rank.state not in ("alive", "quiet")

    return tuple(rank for rank in ranks if not is_old(rank))


def _ended(snapshot: Snapshot, ranks: tuple[RankState, ...]) -> str:
    """What to say of a run that nobody works on and that is not done; empty for any other."""
    student = [rank.state for rank in ranks if rank.beat.role not in snapshot.teachers]
    if not student or not set(student) <= {"silent", "stopped"}:
        return ""
    saved = snapshot.student.checkpoint_step
    if saved is None:
        return "The student is gone and nothing is saved: start again with --clean."
    lost = f", {snapshot.step - saved} steps behind" if snapshot.step > saved else ""
    return f"The student is gone: the same command with --resume goes on from step {saved}{lost}."


def read_queue(run_dir: RunDir) -> Queue | None:
    """What lies in the label queue; None where there is none. Two short reads per producer."""
    folder = run_dir.queue("labels")
    if not (folder / "QUEUE.json").exists():
        return None
    store = PosixStore(folder)
    try:
        topic = inspect_topic(store)
    except ExchangeError:
        return None  # whoever opens it says what is wrong
    producers = [_read_producer(topic, store, name) for name in list_producers(store)]
    try:
        trained = [cursor.trained for cursor in load_cursors(store).values()]
    except ExchangeError:
        trained = []  # damaged, until its group shows it again
    done = {one.name: min((rows.get(one.name, 0) for rows in trained), default=0) for one in producers}
    quarantined = [name for name in store.children("quarantine") if name.endswith(".parquet")]
    return Queue(
        producers=tuple(producers),
        waiting_rows=sum(max(0, one.rows - done[one.name]) for one in producers),
        quarantined_segments=len(quarantined),
    )


def read_label_supply(run_dir: RunDir) -> LabelSupply:
    """What the student got of the pseudo-labels it wanted in its last steps, from the plan log."""
    texts = read_metrics(run_dir.metrics("plan"), TAIL_BYTES)
    plans = []
    for text in texts[-RECENT_PLANS:]:
        with suppress(ValueError):  # a line that was never a plan
            plans.append(Plan.parse(text))
    return LabelSupply(
        fresh_rows=sum(plan.fresh_rows for plan in plans),
        reused_rows=sum(plan.reused_rows for plan in plans),
        missing_rows=sum(plan.short_rows * len(plan.ranks) for plan in plans),
    )


def _read_producer(topic: Topic, store: PosixStore, name: str) -> ProducerState:
    """Every record counts the rows before it, so the last two say it all: a segment, and perhaps a seal."""
    try:
        read_meta(topic, name)  # a stranger is refused
        slots = (store.root / log_name(name)).stat().st_size // RECORD_BYTES
        found = LogReader(store, name, max(0, slots - 2)).read()
    except (OSError, ExchangeError):
        return ProducerState(name, 0, 0, -1, sealed=False)  # the student passes it over as well
    records = [record for record in found if isinstance(record, Record)]
    data = [record for record in records if record.kind == Kind.DATA]
    sealed = any(record.kind == Kind.SEAL for record in records)
    if not data:
        return ProducerState(name, 0, 0, -1, sealed)
    last = data[-1]
    return ProducerState(name, last.seq + 1, last.first_row + last.rows, last.step, sealed)
