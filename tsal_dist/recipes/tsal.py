"""Teacher-student asynchronous learning with multi-source consistency.

The teacher is calm: it learns from one source, the agreement of a frame's heatmaps with those of the frame
rebuilt from its neighbour, and absorbs the student by recursive average filtering. The student is radical: it
learns what several sources of the teacher agree on, and only where they do.

    Y       the sources' fusion: track and nearest detection when there are two, the median of three
    weight  agreement(distance) * usual score * freshness
"""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from tsal_dist.config.section import Section
from tsal_dist.recipes import weighers
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.averaging import RecursiveAverage
from tsal_dist.recipes.fusion import fuse_median, fuse_nearest
from tsal_dist.recipes.labellers import ByUsual
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import Structure, TargetCoordinates, TargetHeatmaps
from tsal_dist.recipes.tracking import RebuiltFrames


class Settings(Section):
    """The paper's choices, where it makes them."""

    use: tuple[Literal["heatmap", "center", "track"], ...] = ("heatmap", "center", "track")
    """Sources the teacher computes."""

    views: int = Field(1, ge=1)
    """Views of a frame whose maps the teacher averages: a heavier, better teacher."""

    track_share: float = Field(0.5, ge=0, le=1)
    """Weight of the tracked point in the fusion of a track with its nearest detection."""

    max_disagreement: float = Field(1.67, gt=0)
    """Distance between sources, in sigmas, beyond which a point teaches nothing. Past 2*sqrt(ln 2) a wrong
    target is worse than none."""

    score_warmup: int = Field(50, ge=0)
    """Batches of score statistics to see before scores weigh anything."""

    absorb: Literal["queue", "ema"] = "queue"
    """`queue` averages the last `queue` student snapshots, `ema` takes only the newest."""

    keep: float = Field(0.7, ge=0, le=1)
    """Share of its own weights the teacher keeps when it absorbs: lambda."""

    queue: int = Field(4, ge=1)
    """Snapshots in the average: Q."""

    buffers: Literal["average", "copy", "keep"] = "average"
    """What absorbing does to norm statistics."""

    own_steps: int = Field(1, ge=0)
    """Gradient steps of its own per version."""

    own_lr_share: float = Field(0.2, gt=0)
    """The teacher's rate as a share of the student's: it is the calm one."""

    tracking: float = Field(0.1, ge=0)
    """Final weight of the teacher's own source: agreement with the frame rebuilt from its neighbour."""

    structure: float = Field(0.01, ge=0)
    """Weight of the structure-invariant constraint on clips."""

    heat: float = Field(1.0, ge=0)
    """Share of the heatmaps in what unlabelled frames teach."""

    coordinate: float = Field(0.0, ge=0)
    """Share of the decoded points."""

    @field_validator("use")
    @classmethod
    def _detects(cls, use: tuple[str, ...]) -> tuple[str, ...]:
        if not {"heatmap", "center"} & set(use):
            raise ValueError(
                "it names no source of detections, and a tracker only carries what was detected: add heatmap"
            )
        return use


class ConsistencyLabeller(ByUsual):
    """The fusion of the sources, weighed by how far they agree."""

    def __init__(self, settings: Settings, task: Task) -> None:
        super().__init__(task.points, settings.score_warmup)
        self._settings = settings
        self._sigma_px = task.sigma_px
        self._max_fb_error_px = task.max_fb_error_px

    def moments(self, evidence: Evidence) -> Tensor:
        return weighers.SoftScore.moments(evidence.score_NSK[:, self._detection(evidence)], evidence.told_N1)

    def __call__(self, evidence: Evidence) -> Target:
        points_NK2, distance_NK = self._fuse(evidence)
        agreement_NK = weighers.agreement(distance_NK, self._sigma_px, self._settings.max_disagreement)
        score_NK = self._usual(evidence.score_NSK[:, self._detection(evidence)])
        fresh_N1 = evidence.fresh_N.unsqueeze(-1)
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
                evidence.points_NSK2[:, 1 - track : 2 - track],
                self._settings.track_share,
            )
            return points_NK2, torch.where(evidence.valid_NSK.all(1), distance_NK, torch.inf)
        trust_NK = weighers.fb_error(evidence.fb_error_NK, self._max_fb_error_px)
        voice_NSK[:, track] *= trust_NK
        return fuse_median(evidence.points_NSK2, voice_NSK)

    def _detection(self, evidence: Evidence) -> int:
        """The source whose score says how sure the detector is of each point."""
        return evidence.source("heatmap" if "heatmap" in evidence.sources else "center")


def recipe(settings: Settings, task: Task) -> Recipe:
    """The paper's method, repaired."""
    absorbing = RecursiveAverage(
        settings.keep, settings.queue if settings.absorb == "queue" else 1, settings.buffers
    )
    lessons = RebuiltFrames(
        task, settings.tracking, settings.structure, settings.own_steps, settings.own_lr_share
    )
    return Recipe(
        label=ConsistencyLabeller(settings, task),
        sources=tuple(
            Source(name, name, views=1 if name == "center" else settings.views) for name in settings.use
        ),
        terms=(
            TargetHeatmaps(settings.heat),
            TargetCoordinates(settings.coordinate),
            Structure(settings.structure),
        ),
        panel={"teacher": Member(absorbing)},
        publishes="student",
        learn=lessons if settings.own_steps else None,
    )
