"""Teacher-student asynchronous learning with multi-source consistency.

The teacher is calm: it learns from one source, the agreement of a frame's heatmaps with those of the frame
rebuilt from its neighbour, and absorbs the student by recursive average filtering. The student is radical: it
learns what several sources of the teacher agree on, and only where they do.

    Y       the sources' fusion: track and nearest detection when there are two, the median of three
    weight  agreement(distance) * usual score * freshness
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tsal_dist.config.model import ModelConfig
from tsal_dist.config.train import SourcesConfig, TrainConfig
from tsal_dist.recipes import weighers
from tsal_dist.recipes.api import Recipe
from tsal_dist.recipes.averaging import RecursiveAverage
from tsal_dist.recipes.fusion import fuse_median, fuse_nearest
from tsal_dist.recipes.target import Evidence, Target


class Absorbing(RecursiveAverage):
    """Recursive average filtering over every published version, once and in order."""

    every_version = True


class ConsistencyLabeller:
    """The fusion of the sources, weighed by how far they agree."""

    def __init__(
        self, sources: SourcesConfig, num_points: int, sigma_px: float, max_fb_error_px: float
    ) -> None:
        self._sources = sources
        self._sigma_px = sigma_px
        self._max_fb_error_px = max_fb_error_px
        self._score = weighers.SoftScore(num_points, warmup=sources.score_warmup)

    def moments(self, evidence: Evidence) -> Tensor:
        return weighers.SoftScore.moments(evidence.score_NSK[:, self._detection(evidence)])

    def observe(self, moments: Tensor) -> None:
        self._score.observe(moments)

    def __call__(self, evidence: Evidence) -> Target:
        points_NK2, distance_NK = self._fuse(evidence)
        agreement_NK = weighers.agreement(distance_NK, self._sigma_px, self._sources.max_disagreement)
        score_NK = self._score(evidence.score_NSK[:, self._detection(evidence)])
        fresh_N1 = weighers.staleness(evidence.lag_rho_N).unsqueeze(-1)
        return Target(
            points_NK2,
            agreement_NK * score_NK * fresh_N1,
            {"agreement": agreement_NK, "score": score_NK, "fresh": fresh_N1.expand_as(score_NK)},
        )

    def _fuse(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        if len(evidence.sources) == 1:
            # An ablation: with nobody to disagree, only score and freshness weigh.
            valid_NK = evidence.valid_NSK[:, 0]
            return evidence.points_NSK2[:, 0], torch.where(valid_NK, 0.0, torch.inf)
        voice_NSK = evidence.valid_NSK.to(evidence.points_NSK2.dtype)
        if "track" not in evidence.sources:
            return fuse_median(evidence.points_NSK2, voice_NSK)
        track = evidence.source("track")
        if len(evidence.sources) == 2:
            points_NK2, distance_NK = fuse_nearest(
                evidence.points_NSK2[:, track],
                evidence.points_NSK2[:, [1 - track]],
                self._sources.track_share,
            )
            return points_NK2, torch.where(evidence.valid_NSK.all(1), distance_NK, torch.inf)
        trust_NK = weighers.fb_error(evidence.fb_error_NK, self._max_fb_error_px)
        voice_NSK[:, track] *= trust_NK
        return fuse_median(evidence.points_NSK2, voice_NSK)

    def _detection(self, evidence: Evidence) -> int:
        """The source whose score says how sure the detector is of each point."""
        return evidence.source("heatmap" if "heatmap" in evidence.sources else "center")

    def state_dict(self) -> Mapping[str, Tensor]:
        return self._score.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._score.load_state_dict(dict(state))


class Elastic(Absorbing):
    """The released code's two-way averaging: the teacher absorbs the newest student, and the student is
    pulled back by the same share (the student's loop does that half). The pair behaves like one net that is
    tied by a spring; it is here to be compared with, not to be recommended."""

    def __init__(self, keep: float) -> None:
        super().__init__(keep, queue=1)


def build_update(train: TrainConfig) -> Absorbing:
    """The teacher's half of the chosen averaging."""
    teacher = train.teacher
    if teacher.absorb == "legacy":
        return Elastic(teacher.keep)
    return Absorbing(teacher.keep, teacher.queue if teacher.absorb == "queue" else 1, teacher.buffers)


def build_recipe(train: TrainConfig, model: ModelConfig) -> Recipe:
    """The paper's method, repaired."""
    return Recipe(
        name="tsal",
        has_teacher=True,
        publishes="student",
        teacher_learns=train.teacher.own_steps > 0,
        sources=train.sources.use,
        rho_per_step=1 - train.teacher.average,
        build_update=lambda: build_update(train),
        build_labeller=lambda: ConsistencyLabeller(
            train.sources, model.num_points, train.loss.sigma_px, model.tracker.max_fb_error_px
        ),
    )
