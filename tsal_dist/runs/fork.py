"""A run that begins where another one stood: with its student's weights, and with what else of it fits.

Where both train the same net, whatever the method, weights, optimiser and average are taken as they were. Where the nets
differ (a twin and a single one), the detector is taken as it was measured. Steps, schedule, place in the data and labels
are the new run's own: they begin anew, and its teacher begins with what this student publishes before its first step.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError, StaleRun
from tsal_dist.inference.trained import choose_step, detector_weights
from tsal_dist.recipes.api import Recipe
from tsal_dist.recipes.averaging import STEPS
from tsal_dist.roles.student import Student
from tsal_dist.run import Origin, Run, load_run, run_folder
from tsal_dist.runs.build import keeps_average, settle_method
from tsal_dist.runs.build_nets import build_student_net

log = logging.getLogger(__name__)


@dataclass
class Taken:
    """What a student takes of another run's checkpoint."""

    weights: dict[str, Tensor]
    """All of its net."""
    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    took: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Each with the reason."""

    def __str__(self) -> str:
        left = f"; not {', not '.join(self.left)}" if self.left else ""
        return f"took {', '.join(self.took)}{left}"


def find_origin(config: RunConfig) -> Origin | None:
    """The checkpoint that a new run begins from; ConfigError where there is none, or where it cannot fit."""
    if config.runtime.replay:
        return load_run(config.runtime.replay).origin  # the same weights come out of the same beginning
    if not config.runtime.fork:
        return None
    source = load_run(config.runtime.fork)
    place = source.dir.root
    if place.resolve() == run_folder(config).resolve():
        raise ConfigError(
            f"{place} is the run to begin from and cannot be trained over. Choose another place (run.dir=...)."
        )
    _refuse_misfit(config, source)
    step = choose_step(_checkpoints(source), config.runtime.fork_step, str(place))
    return Origin(str(place.resolve()), source.id, step)


def read_origin(origin: Origin) -> Mapping[str, Any]:
    """The state of the student there."""
    found = load_run(origin.run)
    if found.id != origin.id:
        raise StaleRun(
            f"This run began from {origin}, and another run lies there by now. Start again, from a run that is there."
        )
    checkpoints = _checkpoints(found)
    choose_step(checkpoints, str(origin.step), origin.run)
    return checkpoints.load(origin.step).state


def take(config: RunConfig, recipe: Recipe, own: Mapping[str, Tensor], origin: Origin) -> Taken:
    """What fits of `origin` into a student whose net has its `own` first weights."""
    state, theirs, keeps = read_origin(origin), load_run(origin.run).config, keeps_average(config)
    taken = _take_weights(recipe, own, keeps, state, origin)
    same_net = _fits(own, state["engine"]["weights"])
    _take_optimizer(taken, config, same_net, state["engine"])
    if keeps and state["average"] and same_net:
        taken.average = state["average"]
        taken.took.append("average")
    elif keeps or state["average"]:
        taken.left.append("an average (it begins anew)" if keeps else "its average (none is kept here)")
    remembered = recipe.student_state()
    if any(remembered.values()) and _same_method(config, theirs):
        taken.method = state["method"]
        taken.took.append(f"what {config.method.name} remembers")
    elif any(state["method"].values()):
        taken.left.append(f"what its method {theirs.method.name} remembers (the methods differ)")
    names, their_names = config.model.layout.names, theirs.model.layout.names
    if names and their_names and names != their_names:
        taken.left.append("the names of its landmarks (they have others here)")
    return taken


def begin_at(origin: Origin | None, student: Student) -> bool:
    """Put the student where the other one stood, at its own step 0; whether there is such a place. Collective."""
    if origin is None:
        return False
    own = student.engine.full_weights()
    taken = take(student.config, student.recipe, own, origin)
    student.engine.load_state_dict(
        {
            "weights": taken.weights,
            "optimizer": taken.optimizer,
            "optimizer_name": student.config.train.optim.name,
            "steps": 0,
        }
    )
    if student.average and taken.average:
        student.average.load_state_dict(taken.average)
    elif student.average:
        student.average.restart(student.engine.model)
    if taken.method:
        student.recipe.load_student_state(taken.method)
    log.info("begins from %s: %s. Steps, schedule, data and labels begin anew", origin, taken)
    return True


def describe_fork(config: RunConfig, recipe: Recipe) -> dict[str, Any] | None:
    """What a dry run says of it; None where a run begins from nothing."""
    origin = find_origin(config)
    if origin is None:
        return None
    own = build_student_net(config, recipe).state_dict()
    taken = take(config, recipe, own, origin)
    return {"run": origin.run, "id": origin.id, "step": origin.step, "took": taken.took, "left": taken.left}


def _checkpoints(source: Run) -> Checkpoints:
    return Checkpoints.to_read(source.dir.checkpoints("student"))


def _refuse_misfit(config: RunConfig, source: Run) -> None:
    mine, theirs = config.model, source.config.model
    for key in ("detector", "num_points"):
        here, there = getattr(mine, key), getattr(theirs, key)
        if here != there:
            raise ConfigError(
                f"{source.dir.root} was trained with model.{key} = {there!r}, and here it is {here!r}: its weights do not "
                f"fit. Set it so, or begin from another run."
            )
    here, there = mine.layout.names, theirs.layout.names
    if here != there and sorted(here) == sorted(there):
        raise ConfigError(
            f"{source.dir.root} has its landmarks in the order {', '.join(there)}, and here it is {', '.join(here)}: each "
            f"would begin as another one. Pack the labels in that order."
        )


def _take_weights(
    recipe: Recipe, own: Mapping[str, Tensor], keeps: bool, state: Mapping[str, Any], origin: Origin
) -> Taken:
    whole = state["engine"]["weights"]
    if _fits(own, whole):
        if state["average"] and not keeps:  # what was measured, published and is expected again
            whole = {name: value for name, value in state["average"].items() if name != STEPS}
            return Taken(dict(whole), took=["averaged weights"])
        return Taken(dict(whole), took=["weights"])
    beginning = recipe.student.detector
    theirs = {f"{beginning}{name}": value for name, value in detector_weights(state).items()}
    mine = {name: value for name, value in own.items() if name.startswith(beginning)}
    if not _fits(mine, theirs):
        odd = sorted(name for name in mine.keys() ^ theirs.keys()) or [
            name for name in mine if mine[name].shape != theirs[name].shape
        ]
        raise ConfigError(
            f"The net of {origin} is another one than model.detector builds here ({odd[0]} and {len(odd) - 1} more tensors "
            f"do not fit). Use the code and settings that it was trained with, or begin from another run."
        )
    left = ["the rest of this method's net (it begins anew)"] if len(mine) < len(own) else []
    return Taken({**own, **theirs}, took=["the detector's weights as they were measured"], left=left)


def _take_optimizer(taken: Taken, config: RunConfig, same_net: bool, engine: Mapping[str, Any]) -> None:
    here, there = config.train.optim.name, engine["optimizer_name"]
    if not same_net:
        taken.left.append("the optimiser (the methods' nets differ)")
    elif here != there:
        taken.left.append(f"the optimiser ({there} there, {here} here)")
    else:
        taken.optimizer = engine["optimizer"]
        taken.took.append("optimiser")


def _fits(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(mine[name].shape == theirs[name].shape for name in mine)


def _same_method(config: RunConfig, theirs: RunConfig) -> bool:
    if config.method.name != theirs.method.name or config.uses_clips != theirs.uses_clips:
        return False
    return settle_method(config).method == settle_method(theirs).method
