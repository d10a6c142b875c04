"""The curves of a run: losses, errors, speeds, and what went on between the roles, from its metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tsal_dist.config import RunConfig
from tsal_dist.insight.charts import Axes, Series, draw_lines
from tsal_dist.insight.page import charts, heading, paragraph, table, unfold
from tsal_dist.observe.snapshot import RankBeat

Lines = Sequence[dict[str, Any]]
Crews = Mapping[str, Lines]
STUDENT, TEACHER = 0, 1
"""Colours: the same role looks the same in every chart."""
CREW_COLORS = 5
"""Those that are not the student's."""


TERMS = {
    "total": "all terms together",
    "heat": "heatmaps against labels",
    "center": "where the subject's middle is",
    "offset": "from the middle to each landmark",
    "structure": "the subject's size from frame to frame of unlabelled clips",
    "coordinate": "places against pseudo-labels",
    "label_heat": "heatmaps against pseudo-labels",
    "tracking": "the frame before, moved, against this one",
}
"""What each term of the loss is about; docs and code have the formulas under the name in brackets."""


class Span(NamedTuple):
    """What all charts of a run have in common, so that they can be read one below the other."""

    steps: tuple[float, float]
    marks: tuple[tuple[float, str], ...]


def draw_curves(config: RunConfig, student: Lines, teachers: Crews, beats: Sequence[RankBeat] = ()) -> str:
    """All charts for which there are numbers; `teachers` are the lines of every crew by its name."""
    if not student:
        return paragraph("Nothing was written down yet.")
    taught = [line for lines in teachers.values() for line in lines]
    marks = ((float(config.train.burn_in_steps), "burn-in ends"),) if taught else ()
    time = Span((0.0, float(max(line["step"] for line in (*student, *taught)))), marks)
    # Where none are held out the gate, if somebody asks for one, goes by labels that both learn.
    judged = "held-out frames" if config.data.validation else "labels that they learn"
    learning, machine = _learning(time, student, teachers, judged), _machine(time, student, teachers)
    return charts(learning) + unfold(
        "The machine room: speed, waiting, queue, ages, memory", charts(machine) + _memory_of(beats)
    )


def _memory_of(beats: Sequence[RankBeat]) -> str:
    """What each rank held when it was heard last, the largest first."""
    held = {f"{beat.role} {beat.rank}": beat.memory for beat in beats if beat.memory}
    if not held:
        return ""
    columns = {"memory/rss_gb": "resident, GB", "memory/gpu_peak_gb": "most on its GPU, GB"}
    there = [name for name in columns if any(name in memory for memory in held.values())]
    rows = [
        [rank, *(f"{memory[name]:.2f}" if name in memory else "" for name in there)]
        for rank, memory in sorted(held.items(), key=lambda one: -max(one[1].values()))
    ]
    return heading("Memory of each rank") + table(["rank", *(columns[name] for name in there)], rows)


def _learning(time: Span, student: Lines, teachers: Crews, judged: str) -> list[str]:
    any_crew = next((lines for lines in teachers.values() if lines), [])
    return [
        _chart(
            "Error of the student on held-out frames and on labels that it learns (NME), %",
            time,
            _series("held out", student, "validation/nme", STUDENT, 100),
            _series("learnt", student, "validation/learnt_nme", 1, 100),
        ),
        _chart(
            f"Teacher and student on the same few {judged} (NME), %",
            time,
            *_by_crew(teachers, "gate/teacher_nme", 100),
            _series("student", any_crew, "gate/student_nme", STUDENT, 100),
        ),
        *[_loss(name, time, student, teachers) for name in _losses(student, *teachers.values())],
    ]


def _machine(time: Span, student: Lines, teachers: Crews) -> list[str]:
    return [
        _chart(
            "Steps per second", time, _series("student", student, "speed/steps_per_s", STUDENT), zero=True
        ),
        _chart(
            "The student's time, %",
            time,
            _series("finds labels", student, "speed/wait_share", 1, 100),
            _series("waits for pixels", student, "speed/data_share", 2, 100),
            _series("publishes, validates, saves", student, "speed/upkeep_share", 3, 100),
            zero=True,
        ),
        _chart("Labels per second of rank 0", time, *_by_crew(teachers, "speed/labels_per_s"), zero=True),
        *[_time_of(name, time, lines) for name, lines in teachers.items()],
        _chart(
            "Rows that wait in the queue",
            time,
            _series("rows", student, "queue/pending", STUDENT),
            zero=True,
        ),
        _chart(
            "Age of the labels, student steps",
            time,
            _series("age", student, "staleness/steps", STUDENT),
            zero=True,
        ),
        _chart(
            "Weight of pseudo-labelled points",
            time,
            _series("mean weight", student, "weight/point", 1),
            _series("share that weighs anything", student, "unlabelled/used_mean", 2),
            zero=True,
        ),
        _chart(
            "Peaks on unlabelled frames: the collapse gauge",
            time,
            _series("mean", student, "unlabelled/peak_mean", 0),
            _series("lowest tenth", student, "unlabelled/peak_p10", 2),
            zero=True,
        ),
        _chart(
            "Memory of rank 0, GB",
            time,
            _series("student", student, "memory/rss_gb", STUDENT),
            *_by_crew(teachers, "memory/rss_gb"),
            zero=True,
        ),
    ]


def _time_of(crew: str, time: Span, lines: Lines) -> str:
    return _chart(
        f"The {crew}'s time, %",
        time,
        _series("labels", lines, "speed/label_share", 1, 100),
        _series("absorbs and learns", lines, "speed/absorb_share", 3, 100),
        _series("parked", lines, "speed/parked_share", 2, 100),
        _series("not wanted", lines, "speed/unwanted_share", 4, 100),
        zero=True,
    )


def _loss(name: str, time: Span, student: Lines, teachers: Crews) -> str:
    return _chart(
        _title(name),
        time,
        _series("student", student, name, STUDENT, smooth=True),
        *_by_crew(teachers, name, smooth=True),
    )


def _title(name: str) -> str:
    """A loss in words; a term that has none here keeps its name."""
    term = name.removeprefix("loss/")
    words = TERMS.get(term)
    return f"Loss, {words} ({term})" if words else f"Loss, {term.replace('_', ' ')}"


def _losses(*roles: Lines) -> list[str]:
    """Every loss that a role wrote down, the total first."""
    names = {name for lines in roles for line in lines for name in line if name.startswith("loss/")}
    return sorted(names, key=lambda name: (name != "loss/total", name))


def _by_crew(teachers: Crews, key: str, factor: float = 1.0, smooth: bool = False) -> list[Series | None]:
    """One number of every crew of teachers; the first one looks as the teacher of a run that has no other."""
    return [
        _series(name, lines, key, TEACHER + number % CREW_COLORS, factor, smooth)
        for number, (name, lines) in enumerate(teachers.items())
    ]


def _series(
    name: str, lines: Lines, key: str, color: int, factor: float = 1.0, smooth: bool = False
) -> Series | None:
    """One number over the student's steps; None where it was never written."""
    found = [(line["step"], line[key]) for line in lines if key in line]
    if not any(value is not None for _, value in found):
        return None
    x_N = np.array([float(step) for step, _ in found])
    y_N = np.array([np.nan if value is None else factor * value for _, value in found])
    return Series(name, x_N, y_N, color, smooth)


def _chart(title: str, time: Span, *series: Series | None, zero: bool = False) -> str:
    present = [one for one in series if one is not None]
    return (
        draw_lines(present, Axes("student step", "", title, time.marks, zero, time.steps)) if present else ""
    )
