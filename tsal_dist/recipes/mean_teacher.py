"""Mean teacher for landmarks: an average of the student labels, the student learns from a harder view.

The average is kept beside the student at every step, exactly, and published; the teacher only runs it. One
source, the heatmap's peak; how much a point counts is its score against what is usual for that landmark.
"""

from collections.abc import Mapping

from torch import Tensor

from tsal_dist.config.model import ModelConfig
from tsal_dist.config.train import TrainConfig
from tsal_dist.recipes import weighers
from tsal_dist.recipes.api import Newest, Recipe
from tsal_dist.recipes.target import Evidence, Target


class PeakLabeller:
    """The heatmap's peak, weighed by its own landmark's usual score."""

    def __init__(self, num_points: int, warmup: int) -> None:
        self._score = weighers.SoftScore(num_points, warmup=warmup)

    def moments(self, evidence: Evidence) -> Tensor:
        return weighers.SoftScore.moments(evidence.score_NSK[:, evidence.source("heatmap")])

    def observe(self, moments: Tensor) -> None:
        self._score.observe(moments)

    def __call__(self, evidence: Evidence) -> Target:
        peak = evidence.source("heatmap")
        score_NK = self._score(evidence.score_NSK[:, peak])
        fresh_N1 = weighers.staleness(evidence.lag_rho_N).unsqueeze(-1)
        weight_NK = score_NK * fresh_N1 * evidence.valid_NSK[:, peak]
        return Target(
            evidence.points_NSK2[:, peak],
            weight_NK,
            {"score": score_NK, "fresh": fresh_N1.expand_as(score_NK)},
        )

    def state_dict(self) -> Mapping[str, Tensor]:
        return self._score.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._score.load_state_dict(dict(state))


def build_recipe(train: TrainConfig, model: ModelConfig) -> Recipe:
    """The student's average labels."""
    return Recipe(
        name="mean_teacher",
        has_teacher=True,
        publishes="average",
        teacher_learns=False,
        sources=("heatmap",),
        rho_per_step=1 - train.teacher.average,
        build_update=Newest,
        build_labeller=lambda: PeakLabeller(model.num_points, train.sources.score_warmup),
    )
