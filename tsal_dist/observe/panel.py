"""How a run looks to a person: both roles, the queue between them and what is saved, in five rows or in one line."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tsal_dist.clock import format_time
from tsal_dist.observe.snapshot import RoleState, Snapshot

BAR_WIDTH = 40


class Row(NamedTuple):
    """One fact, and the words before it."""

    label: str
    text: str
    style: str = ""


def draw(
    snapshot: Snapshot,
    step: int | None = None,
    before: Sequence[Row] = (),
    after: Sequence[Row] = (),
    going: bool = True,
) -> RenderableType:
    """The run as a block of rows. `step` is the student's where the caller knows better than the files; the time
    left is told only of a run that is `going`."""
    step = snapshot.step if step is None else step
    head = Text.assemble(("  " + snapshot.name, "bold"), f"  {snapshot.config.method.name}, ")
    head.append(f"{snapshot.config.runtime.topology}", "dim")
    bar = ProgressBar(total=max(1, snapshot.config.train.steps), completed=step, width=BAR_WIDTH)
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="cyan", min_width=10)
    table.add_column(overflow="fold")
    for label, text, style in before:
        table.add_row(Text(label, style=style), Text(text, style=style))
    table.add_row("", bar)
    for label, text, style in (*rows(snapshot, step, going), *after):
        table.add_row(label, Text(text, style=style))
    return Group(head, table)


def rows(snapshot: Snapshot, step: int, going: bool = True) -> list[Row]:
    """Both roles, the queue and the checkpoints, as far as anything is known of them."""
    student = snapshot.student.numbers
    found = [Row("student", ", ".join(_progress(snapshot, step, going)))]
    quality = _known(student, ("loss/total", "loss {:.4g}"), ("validation/nme", "validation NME {:.4f}"))
    measured = snapshot.student.last_step("validation/nme")
    if measured is not None:
        quality[-1] += f" at {measured}"
    shares = _known(
        student,
        ("speed/wait_share", "waits {:.0%}"),
        ("speed/data_share", "reads {:.0%}"),
        ("speed/upkeep_share", "upkeep {:.0%}"),
    )
    found.append(Row("", ", ".join([*quality, *shares]) or "no line of metrics yet"))
    for name, crew in snapshot.teachers.items() if snapshot.config.has_teacher else ():
        found.append(Row(name, ", ".join(_teacher(snapshot, crew, step))))
        work = _known(
            crew.numbers,
            ("speed/labels_per_s", "{:.0f} labels/s by rank 0"),
            ("speed/label_share", "labels {:.0%}"),
            ("speed/absorb_share", "learns {:.0%}"),
            ("speed/parked_share", "parked {:.0%}"),
            ("speed/unwanted_share", "unwanted {:.0%}"),
        )
        if work:
            found.append(Row("", ", ".join(work)))
    if snapshot.config.uses_clips:
        queue = _known(
            student,
            ("queue/pending", "{:.0f} rows wait"),
            ("staleness/steps", "labels {:.0f} steps old"),
            ("staleness/rho", "rho {:.2f}"),
            ("queue/quarantined", "{:.0f} quarantined"),
        )
        found.append(Row("queue", ", ".join(queue) or "empty"))
    found.append(Row("saved", _saved(snapshot, step)))
    return found


def format_line(snapshot: Snapshot, step: int | None = None) -> str:
    """`step 1200/20000 6%, 2.1 steps/s, 2:29:12 left | loss 0.123 | ... `: for logs."""
    step = snapshot.step if step is None else step
    student = snapshot.student.numbers
    parts = [" ".join(["step", ", ".join(_progress(snapshot, step))])]
    parts += _known(student, ("loss/total", "loss {:.4g}"), ("speed/wait_share", "waits {:.0%}"))
    if snapshot.config.uses_clips:
        parts += _known(
            student, ("queue/pending", "{:.0f} rows wait"), ("staleness/steps", "labels {:.0f} steps old")
        )
    for name, crew in snapshot.teachers.items() if snapshot.config.has_teacher else ():
        parts.append(f"{name} " + ", ".join(_teacher(snapshot, crew, step)))
        parts += _known(crew.numbers, ("speed/parked_share", "parked {:.0%}"))
    saved = snapshot.student.checkpoint_step
    return " | ".join([*parts, f"saved {'nothing' if saved is None else saved}"])


def _progress(snapshot: Snapshot, step: int, going: bool = True) -> list[str]:
    share = f"{100 * step // max(1, snapshot.config.train.steps)}%"
    found = [f"{step}/{snapshot.config.train.steps} {share}"]
    if snapshot.steps_per_s:
        found.append(f"{snapshot.steps_per_s:.3g} steps/s")
    left_s = snapshot.left_s(step)
    if going and left_s and step < snapshot.config.train.steps:
        found.append(f"{format_time(left_s)} left")
    return found


def _teacher(snapshot: Snapshot, crew: RoleState, step: int) -> list[str]:
    """Where a crew of teachers stands and whether it may teach."""
    numbers = crew.numbers
    version = crew.lines[-1]["step"] if crew.lines else None
    if version is None:
        return ["no version absorbed yet"]
    found = [f"version {version}", f"{max(0, step - version)} steps behind"]
    if step < snapshot.config.train.burn_in_steps:
        return [*found, "burn-in: labels are not wanted yet"]
    if snapshot.config.train.gate.enabled and "gate/open" in numbers:
        gate = "gate open" if numbers["gate/open"] else "gate CLOSED"
        if "gate/teacher_nme" in numbers:
            gate += f" (NME {numbers['gate/teacher_nme']:.4f}, student {numbers['gate/student_nme']:.4f})"
        found.append(gate)
    return found


def _saved(snapshot: Snapshot, step: int) -> str:
    saved = snapshot.student.checkpoint_step
    if saved is None:
        return f"nothing yet; every {snapshot.config.runtime.checkpoint.every} steps"
    text = f"step {saved}"
    for name, crew in snapshot.teachers.items() if snapshot.config.has_teacher else ():
        if crew.checkpoint_step is not None:
            text += f", {name}'s {crew.checkpoint_step}"
    return f"{text}; a crash now costs {step - saved} steps" if step > saved else text


def _known(numbers: Mapping[str, float], *wanted: tuple[str, str]) -> list[str]:
    """Those of the wanted numbers that there are, as text."""
    return [text.format(numbers[name]) for name, text in wanted if name in numbers]
