"""How fast the labels of a run age."""

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
    """How fast a label ages: as an average over the student's steps forgets, or not at all where no teacher moves on.

    Raises ConfigError where versions come too seldom for any label to be young enough at every step.
    """
    if planned_by(config).runtime.offline:
        return Staleness(alpha=1.0)  # no teacher moves on while the labels are read
    queue, every = config.runtime.queue, config.runtime.weights.publish_every
    still = all(isinstance(member.follow, Frozen) for member in recipe.panel.values())
    alpha = 1.0 if still else config.train.average or USUAL_AVERAGE
    staleness = Staleness(alpha, queue.max_rho, queue.max_lag_steps)
    if config.has_teacher and not still and every > staleness.bound_steps:
        raise ConfigError(
            f"runtime.weights.publish_every is {every}, and labels are dropped once they are more than "
            f"{staleness.bound_steps:g} steps old (runtime.queue.max_rho={queue.max_rho:g}, max_lag_steps={queue.max_lag_steps}, "
            f"train.average={config.train.average:g}): of every {every} steps the last ones could have none. Publish every "
            f"{max(1, round(staleness.bound_steps / 3))} steps or so, or let labels be older."
        )
    return staleness
