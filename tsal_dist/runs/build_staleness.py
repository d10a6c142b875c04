"""How fast the labels of a run age, and whether they are the student's own."""

from tsal_dist.config import RunConfig
from tsal_dist.config.train import TrainConfig
from tsal_dist.errors import ConfigError
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.recipes.api import Recipe
from tsal_dist.recipes.following import Frozen
from tsal_dist.runs.other_runs import planned_by

USUAL_AVERAGE = TrainConfig.model_fields["average"].default
"""Decay by which labels age where no average is kept."""


def build_staleness(config: RunConfig, recipe: Recipe) -> Staleness:
    """How fast a label ages: as an average over the student's steps forgets, or not at all where no teacher moves on."""
    if planned_by(config).runtime.offline:
        return Staleness(alpha=1.0)  # no teacher moves on while the labels are read
    queue = config.runtime.queue
    alpha = config.train.average or USUAL_AVERAGE if _teaches_itself(config, recipe) else 1.0
    return Staleness(alpha, queue.max_rho, queue.max_lag_steps)


def goes_by_headroom(config: RunConfig, recipe: Recipe) -> bool:
    """Whether pseudo-labels count by what labels leave to be learnt: who teaches itself knows no more than they say."""
    held_out = bool(config.data.validation)
    return held_out and config.train.loss.headroom and config.uses_clips and _teaches_itself(config, recipe)


def _teaches_itself(config: RunConfig, recipe: Recipe) -> bool:
    """Whether a student's labels are its own of a while ago, and not those of a net or a run that was there before."""
    moving = any(not isinstance(member.follow, Frozen) for member in recipe.panel.values())
    return moving and not planned_by(config).runtime.offline


def require_young_labels(config: RunConfig, staleness: Staleness) -> None:
    """ConfigError where versions come too seldom for labels to be young enough at every step. Of a new run: one that is
    taken up goes on as it began."""
    queue, every = config.runtime.queue, config.runtime.weights.publish_every
    if config.has_teacher and every > staleness.bound_steps:
        raise ConfigError(
            f"runtime.weights.publish_every is {every}, and labels are dropped once they are more than "
            f"{staleness.bound_steps:g} steps old (runtime.queue.max_rho={queue.max_rho:g}, max_lag_steps={queue.max_lag_steps}, "
            f"train.average={config.train.average:g}): of every {every} steps the last ones could have none. Publish every "
            f"{max(1, round(staleness.bound_steps / 3))} steps or so, or let labels be older."
        )
