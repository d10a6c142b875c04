"""What learning and labelling cost here, read off a short synchronous run: real models, recipe, loader, processes.

As many processes as are planned for run at once, for they meet at every step: exchanging gradients and waiting for one
another took a fifth of it on two cores. Then one runs alone, since a role of one process meets nobody.
The synchronous run needs no model: its own lines of metrics say what a step takes, and which part is the teacher's.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError, TrainingError
from tsal_dist.planning.processes import Line, MeasuredProcesses
from tsal_dist.planning.split import Costs

PUBLISH_EVERY = 5
"""In the probe; a version's cost is then spread over as many steps as the config publishes after."""
WARM_STEPS = 3
"""First steps, which allocate and load what later ones find."""
NEVER = 10**9

STEADY = (
    "runtime.lockstep=false",
    "runtime.teacher_cycle=1",  # or most steps have no turn of the teacher's, and their median is nothing
    "train.burn_in_steps=0",  # from the first step on, both roles do what they do later
    "train.gate.slack=1000000",  # what the gate costs counts, what it thinks of an untrained teacher does not
    "train.loss.unlabelled=1e-6",  # nor must an untrained teacher do harm
    f"train.steps={NEVER}",
    f"runtime.log.evaluate_every={NEVER}",
    f"runtime.checkpoint.every={NEVER}",
    "runtime.log.wandb=false",  # a probe is nobody's run
    "runtime.log.mlflow=false",
)
"""What makes a run's first steps like any later ones. Evaluation and checkpoints cost either topology the same."""


def measure_costs(
    config: RunConfig,
    overrides: Sequence[str],
    procs: int,
    folder: Path,
    seconds: float = 8.0,
    timeout_s: float = 600.0,
) -> Costs:
    """Run `config`, which the command line `overrides` describe, synchronously; what a clip costs. `seconds` each: all
    processes together, and one alone."""
    probe = [*overrides, *STEADY, "runtime.topology=inline", f"runtime.weights.publish_every={PUBLISH_EVERY}"]
    clips = config.train.unlabelled_batch // config.data.clip_frames

    def measure(world: int) -> Costs:
        with MeasuredProcesses(folder / f"of-{world}", probe, world) as team:
            team.wait_for_step(WARM_STEPS, timeout_s)
            lines = team.watch(seconds, least=2 * PUBLISH_EVERY, limit_s=timeout_s)
        return read_costs(lines, clips, PUBLISH_EVERY, config.runtime.weights.publish_every)

    return replace(measure(procs), lone=measure(1))


def read_costs(lines: Sequence[Line], clips: int, published: int, publish_every: int) -> Costs:
    """Costs from consecutive lines of a synchronous run that published every so many steps.

    A step with a new version differs from the others by what publishing and absorbing cost. Medians: a process that
    the system held up for once says nothing about the work.
    """
    usual: list[tuple[float, float]] = []
    version: list[tuple[float, float]] = []
    for before, line in zip(lines, lines[1:], strict=False):
        took = line["time"] - before["time"]
        turn = took * float(line["speed/wait_share"])
        (version if before["step"] % published == 0 else usual).append((took - turn, turn))
    if not usual or not version:
        raise TrainingError(
            f"{len(lines)} steps are too few to tell what a version costs. Measure for longer."
        )

    def per_clip(part: int) -> float:
        step_s = median(each[part] for each in usual)
        extra_s = max(0.0, median(each[part] for each in version) - step_s)
        return (step_s + extra_s / publish_every) / clips

    return Costs(student_s=per_clip(0), teacher_s=per_clip(1))


def keep_rate(lines: Sequence[Line]) -> float:
    """The share of a run's label rows that were given to students and not dropped by a rule."""
    known = [line for line in lines if line.get("queue/delivered")]
    if not known:
        raise ConfigError(
            "This run has delivered no labels yet, so it has no keep rate. Name another, or give --keep."
        )
    delivered, trimmed = float(known[-1]["queue/delivered"]), float(known[-1]["queue/trimmed"])
    return delivered / (delivered + trimmed)
