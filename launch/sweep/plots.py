"""Pictures of a sweep: how every trial learnt, and which values went with which result."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launch.sweep.space import RANGES, Domain
from launch.sweep.states import Metric, TrialState
from launch.sweep.table import show_value
from tsal_dist.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMED = 12
"""So many curves are named in the legend: the best ones."""
APART = 4.0


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]], metric: Metric) -> "Figure":
    """The metric over steps, a curve per trial, best first."""
    figure, axes = _new_axes(8, 5)
    scale = _scale(metric)
    for place, (name, points) in enumerate(curves.items()):
        steps, values = zip(*points, strict=True) if points else ((), ())
        axes.plot(
            steps,
            [scale * value for value in values],
            color=_color(place, len(curves)),
            linewidth=2 if place == 0 else 1.2,
            marker="o",
            markersize=3,
            label=f"{name}: {metric.show(metric.best([*values]))}" if place < MOST_NAMED else None,
            zorder=len(curves) - place,
        )
    axes.set(xlabel="student step", ylabel=_label(metric))
    if _lie_apart([value for points in curves.values() for _, value in points]):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(title="trial, best first", fontsize=8)
    return figure


def draw_parallel(trials: Sequence[TrialState], space: Mapping[str, Domain], metric: Metric) -> "Figure":
    """An axis per searched key and one for the metric; a line per trial, best first, so that dark is good."""
    figure, axes = _new_axes(2.2 + 1.9 * len(space), 5)
    places = [_Axis(key, domain) for key, domain in space.items()]
    values = [trial.best for trial in trials if trial.best is not None]
    last = _Axis("", Domain("loguniform" if _lie_apart(values) else "uniform", (min(values), max(values))))
    for place in reversed(range(len(trials))):
        trial = trials[place]
        assert trial.best is not None
        heights = [axis.height(trial.values[axis.key]) for axis in places]
        heights.append(last.height(trial.best))
        axes.plot(
            heights,
            color=_color(place, len(trials)),
            linewidth=2.4 if place == 0 else 1.2,
            alpha=0.9,
            clip_on=False,
        )
    for number, axis in enumerate(places):
        axes.axvline(number, color="black", linewidth=0.8)
        for height, text in axis.marks():
            axes.annotate(
                text, (number, height), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center"
            )
    axes.axvline(len(places), color="black", linewidth=0.8)
    for value in sorted({min(values), max(values)}):
        axes.annotate(
            metric.show(value),
            (len(places), last.height(value)),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )
    axes.set_xticks(
        range(len(places) + 1), [*(_two_lines(axis.key) for axis in places), _label(metric)], fontsize=8
    )
    axes.set(yticks=[], ylim=(-0.03, 1.03), xlim=(-0.1, len(places) + 0.1))
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_title(f"dark: the best trial, {trials[0].id}", fontsize=9)
    return figure


class _Axis:
    """Where a value of one key stands, from 0 to 1."""

    def __init__(self, key: str, domain: Domain) -> None:
        self.key = key
        self._domain = domain

    def height(self, value: Any) -> float:
        if self._domain.kind not in RANGES:
            return (self._domain.values.index(value) + 0.5) / len(self._domain.values)
        low, high = (self._along(end) for end in self._domain.values)
        return (self._along(value) - low) / (high - low) if high > low else 0.5

    def marks(self) -> list[tuple[float, str]]:
        return [(self.height(value), show_value(value)) for value in self._domain.values]

    def _along(self, value: float) -> float:
        return math.log(value) if self._domain.kind == "loguniform" else float(value)


def _lie_apart(values: Sequence[float]) -> bool:
    """Whether one that diverges would flatten all others on a linear scale."""
    return min(values, default=0) > 0 and max(values) > APART * min(values)


def _color(place: int, count: int) -> tuple[float, float, float]:
    """From dark blue, the best, to pale: rank is the one thing colour says."""
    share = place / max(1, count - 1)
    return (0.08 + 0.72 * share, 0.22 + 0.60 * share, 0.50 + 0.38 * share)


def _scale(metric: Metric) -> float:
    return 100.0 if metric.name.endswith("/nme") else 1.0


def _label(metric: Metric) -> str:
    return "validation NME, %" if metric.name == "validation/nme" else metric.name


def _two_lines(key: str) -> str:
    section, _, name = key.rpartition(".")
    return f"{section}\n{name}"


def _new_axes(width: float, height: float) -> tuple["Figure", Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "tune", "Drawing a sweep") from None
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()
