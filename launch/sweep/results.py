"""What a sweep leaves for a person: a table, the best config, plots, and the same as JSON.

report/trials.txt  report/trials.json  report/best.toml  report/learning_curves.png  report/parallel_coordinates.png
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.sweep.plots import draw_curves, draw_parallel
from launch.sweep.states import Curves, Metric, TrialState, write_states
from launch.sweep.table import draw_trials
from launch.sweep.trial_plan import SweepPlan
from tsal_dist.config.load import to_toml
from tsal_dist.run_dir import write_whole

WIDTH = 160


def report_sweep(plan: SweepPlan, trials: Sequence[TrialState], console: Console) -> Path | None:
    """Write everything below report/ and print the table; the best config's path, if any trial has a number."""
    metric = Metric(plan.file.sweep.metric, plan.file.sweep.mode)
    folder, ranked = plan.folder / "report", metric.rank(trials)
    folder.mkdir(parents=True, exist_ok=True)
    table = draw_trials(trials, metric, plan.total_steps, ranked=True, rows=len(trials))
    with open(folder / "trials.txt", "w") as file:
        Console(file=file, width=WIDTH).print(table)
    write_states(folder / "trials.json", ranked)
    console.print(draw_trials(trials, metric, plan.total_steps, ranked=True))
    judged = [trial for trial in ranked if trial.best is not None]
    if not judged:
        return None
    curves = Curves(metric.name)
    for name, figure in (
        ("learning_curves.png", draw_curves({one.id: curves.of(one.run) for one in judged}, metric)),
        ("parallel_coordinates.png", draw_parallel(judged, plan.space, metric)),
    ):
        figure.savefig(folder / name, dpi=130, bbox_inches="tight")
    path = folder / "best.toml"
    write_whole(path, best_toml(plan, judged[0], metric).encode())
    return path


def best_toml(plan: SweepPlan, best: TrialState, metric: Metric) -> str:
    """The trial's config as a file for training: all that was said, since what was not gives way to what shards say."""
    config = plan.trial_config(best.values, Path(best.run))
    tree = config.model_dump(mode="json", exclude_unset=True)
    tree["run"] = {"name": f"{plan.file.sweep.name}-best"}
    lines = [
        f"# The best of {plan.file.sweep.name}: trial {best.id}, {metric.name} {metric.show(best.best)}.",
        f"# Its run: {best.run}",
    ]
    if best.clones:
        lines.append(
            f"# It went on from other trials' checkpoints {best.clones} times: these are its last values, and "
            f"training by them alone will come out differently."
        )
    return "\n".join([*lines, "", *_toml(tree)]) + "\n"


def _toml(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """TOML's tables, plain values before inner tables. Configs hold scalars and lists of them."""
    plain = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    if plain:
        yield f"[{prefix.rstrip('.')}]"
        yield from (f"{name} = {to_toml(name, value)}" for name, value in plain.items())
        yield ""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _toml(value, f"{prefix}{name}.")
