"""What is wrong with a run, and what holds it up: one line each, from numbers alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tsal_dist.errors import ExitCode
from tsal_dist.observe.snapshot import RoleState, Snapshot

WAIT_SHARE = 0.05
"""Waiting for labels from which on it is worth a word."""
IDLE_SHARE = 0.1
"""Parking of teachers from which on a lack of labels is not theirs."""
PARKED_SHARE = 0.5
DATA_SHARE = 0.2
UPKEEP_SHARE = 0.3
FRESH_SHARE = 0.95
LOW_PEAK = 0.65
"""Share of the first peaks under which they make one worry; training stops at half."""
CLOSED_LINES = 5
"""Teacher versions that the gate may refuse in a row before it counts as closed for long."""
TRIMMED_SHARE = 0.1
LOW_DISK_GB, LOW_DISK_SHARE = 1.0, 0.02


@dataclass(frozen=True)
class LabelSupply:
    """The pseudo-labelled rows of the student's last steps."""

    fresh_rows: int
    reused_rows: int
    missing_rows: int

    @property
    def wanted_rows(self) -> int:
        return self.fresh_rows + self.reused_rows + self.missing_rows


def give_verdict(snapshot: Snapshot, usage: LabelSupply) -> str:
    """The bottleneck, in one line."""
    student = snapshot.student
    wait = student.recent("speed/wait_share") or 0.0
    if not student.lines:
        return "Too early to tell: no line of metrics yet."
    own = _own_time(snapshot)
    if not snapshot.config.has_teacher:
        return own or "One role, and it trains: nothing holds it up."
    if snapshot.config.runtime.topology == "inline":
        return (
            own or f"Both roles take turns in one process; the teacher's turns take {wait:.0%} of the time."
        )
    if snapshot.step <= snapshot.config.train.burn_in_steps:
        return own or "Burn-in: the student learns from labelled frames, the teacher only follows."
    if (snapshot.of_teachers("speed/unwanted_share") or 0.0) > PARKED_SHARE:
        return (
            "The gate is closed most of the time: no number of teachers changes that before they get better."
        )
    teachers = max(1, sum(len(crew.beats) for crew in snapshot.teachers.values()))
    parked = snapshot.of_teachers("speed/parked_share") or 0.0
    if wait > WAIT_SHARE and parked > IDLE_SHARE:
        return (
            f"Students take {wait:.0%} of the time to find labels although teachers are parked {parked:.0%}: the "
            f"labels are there, and reading them is slow. Look at the filesystem (`tsal doctor`)."
        )
    if wait > WAIT_SHARE:
        return f"Students wait for labels {wait:.0%} of the time: {_more(teachers, 1 - wait)} would help."
    if usage.wanted_rows and usage.fresh_rows < FRESH_SHARE * usage.wanted_rows:
        share = usage.fresh_rows / usage.wanted_rows
        rest = f"{usage.reused_rows / usage.wanted_rows:.0%} were trained on again, {usage.missing_rows / usage.wanted_rows:.0%} missing"
        return f"Of the labels that students lately wanted {share:.0%} were fresh, {rest}: {_more(teachers, share)} would help."
    if own:
        return own
    if parked > PARKED_SHARE:
        remedy = (
            "fewer would do" if teachers > 1 else "give it more views per label, or the student more ranks"
        )
        return f"Teachers are parked {parked:.0%} of the time: {remedy}."
    return f"Balanced: students wait for labels {wait:.0%} of the time, teachers are parked {parked:.0%}."


def find_alarms(
    snapshot: Snapshot,
    *,
    silent: Sequence[str],
    quarantined: int,
    first_peak: float | None,
    free_gb: float,
    free_share: float,
) -> list[str]:
    """What somebody should look at now, the worst first."""
    found = [f"No sign of life: {text}." for text in silent]
    for role, state in snapshot.roles.items():
        if state.ending and state.ending.code not in (ExitCode.DONE, ExitCode.REQUEUE):
            found.append(f"The {role} failed: {state.ending.reason}")
    if free_gb < LOW_DISK_GB or free_share < LOW_DISK_SHARE:
        found.append(f"The disk is nearly full: {free_gb:.1f} GB ({free_share:.0%}) are free.")
    student = snapshot.student
    if student.lines and any(
        name.startswith("loss/") and line[name] is None for line in student.lines for name in line
    ):
        found.append("A loss was not a finite number lately.")
    peak = student.recent("unlabelled/peak_mean")
    if peak is not None and first_peak and peak < LOW_PEAK * first_peak:
        found.append(
            f"The detector's peaks on unlabelled frames fell from {first_peak:.3f} to {peak:.3f}: training stops "
            f"at half. Lower train.loss.unlabelled or lengthen train.burn_in_steps."
        )
    for name, crew in snapshot.teachers.items():
        found += _gate_alarm(snapshot, name, crew)
    if quarantined:
        found.append(f"{quarantined} damaged segments were quarantined: look at the disk or the network.")
    committed, trimmed = student.numbers.get("queue/committed"), student.numbers.get("queue/trimmed", 0.0)
    if committed and trimmed > TRIMMED_SHARE * committed:
        found.append(f"{trimmed / committed:.0%} of all labels were dropped as stale or duplicate.")
    age, every = (
        student.numbers.get("checkpoint/age_steps"),
        snapshot.config.runtime.checkpoint.every,
    )
    if age is not None and age > 2 * every:
        found.append(f"No checkpoint for {age:.0f} steps, although one is due every {every}.")
    return found


def _gate_alarm(snapshot: Snapshot, name: str, crew: RoleState) -> list[str]:
    """The gate of a crew has refused many versions in a row, or all there were in a run that has reached its end."""
    train = snapshot.config.train
    judged = [line for line in crew.lines if line["step"] > train.burn_in_steps]
    closed = []
    for line in reversed(judged):
        if line.get("gate/open", 1.0):
            break
        closed.append(line["step"])
    never_opened = snapshot.step >= train.steps and len(closed) == len(judged)
    if not closed or not train.gate.enabled or (len(closed) < CLOSED_LINES and not never_opened):
        return []
    numbers = crew.numbers
    return [
        f"The gate has been closed since step {closed[-1]}, {len(closed)} versions: the {name}'s NME is "
        f"{numbers.get('gate/teacher_nme', math.nan):.4f}, the student's {numbers.get('gate/student_nme', math.nan):.4f}."
    ]


def _own_time(snapshot: Snapshot) -> str:
    """What the student's ranks spend too much of their own time on; empty where they train."""
    data = snapshot.student.recent("speed/data_share") or 0.0
    upkeep = snapshot.student.recent("speed/upkeep_share") or 0.0
    if data > DATA_SHARE and data >= upkeep:
        return f"Students wait for pixels {data:.0%} of the time: raise data.workers, or pack smaller frames."
    if upkeep > UPKEEP_SHARE:
        return (
            f"Publishing, validating and saving take {upkeep:.0%} of the students' time: do them less often "
            f"(runtime.weights.publish_every, runtime.log.evaluate_every, runtime.checkpoint.every)."
        )
    return ""


def _more(teachers: int, supplied_share: float) -> str:
    """How many teachers it would take, if labels come in proportion to them."""
    wanted = math.ceil(teachers / max(supplied_share, 0.05) - 1e-9) - teachers
    return "one more teacher" if wanted <= 1 else f"about {wanted} more teachers"
