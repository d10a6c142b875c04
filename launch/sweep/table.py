"""Trials as a table: while they run, and at the end."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from launch.sweep import states
from launch.sweep.states import Metric, TrialState

STYLES = {states.RUNS: "cyan", states.DONE: "green", states.FAILED: "red", states.STOPPED: "yellow"}
MOST_ROWS = 30


def draw_trials(
    trials: Sequence[TrialState],
    metric: Metric,
    total_steps: int,
    ranked: bool = False,
    rows: int = MOST_ROWS,
) -> Table:
    """A row per trial: what it is doing, how far it is, how good it is, and what it was given."""
    shown = metric.rank(trials) if ranked else _liveliest(trials)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("#", "trial", "state", "step", _short(metric.name), "best", "time"):
        table.add_column(name, justify="left" if name in ("trial", "state") else "right", no_wrap=True)
    keys = list(shown[0].values) if shown else []
    for key in _short_keys(keys):
        table.add_column(key, justify="right")
    for place, one in enumerate(shown[:rows], start=1):
        state = one.status + (
            f", retried {one.failures} x" if one.failures and one.status != states.FAILED else ""
        )
        table.add_row(
            str(place),
            one.id,
            Text(state, style=STYLES.get(one.status, "")),
            f"{one.step}/{total_steps}",
            metric.show(one.value),
            metric.show(one.best),
            show_time(one.seconds),
            *(show_value(one.values[key]) for key in keys),
        )
    if len(shown) > rows:
        table.caption = f"and {len(shown) - rows} more"
    return table


def format_line(trials: Sequence[TrialState], metric: Metric, planned: int) -> str:
    """The same in one line, for a log."""
    counts = [(name, sum(one.status == name for one in trials)) for name in (states.RUNS, *states.OVER)]
    words = [f"{count} {'run' if name == states.RUNS else name}" for name, count in counts if count]
    text = f"{len(trials)} of {planned} trials: {', '.join(words) or 'none runs yet'}"
    runs = [
        f"{one.id} step {one.step} {metric.show(one.value)}" for one in trials if one.status == states.RUNS
    ]
    best = metric.rank(trials)[:1]
    if best and best[0].best is not None:
        text += f"; best {metric.show(best[0].best)} ({best[0].id})"
    return text + (f"; {'; '.join(runs)}" if runs else "")


def show_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def show_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _liveliest(trials: Sequence[TrialState]) -> list[TrialState]:
    """Those that run first, then those that wait, then those that are over."""
    order = {states.RUNS: 0, states.PAUSED: 1, states.WAITS: 2}
    return sorted(trials, key=lambda one: order.get(one.status, 3))


def _short(key: str) -> str:
    return key.rpartition("/")[2]


def _short_keys(keys: Sequence[str]) -> list[str]:
    """The last word of each key, or two where one would not tell them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return [
        word if last.count(word) == 1 else ".".join(key.split(".")[-2:])
        for key, word in zip(keys, last, strict=True)
    ]
