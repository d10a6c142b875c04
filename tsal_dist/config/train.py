"""The method: recipe, optimiser, losses, teacher, sources of a pseudo-label."""

from typing import Literal

from pydantic import Field

from tsal_dist.config.section import Section


class OptimConfig(Section):
    """One optimiser per role."""

    name: Literal["adamw", "sgd"] = "adamw"
    """`sgd` uses Nesterov momentum."""

    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""

    weight_decay: float = Field(1e-4, ge=0)
    """Applied to weights of convolutions and matrices, never to norms and biases."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD's momentum; AdamW's first beta."""

    clip_norm: float = Field(500.0, ge=0)
    """Gradients are scaled down to this global norm; 0 never clips. Heatmap losses are sums over points and cells,
    so norms of some hundreds are usual."""

    warmup_steps: int = Field(100, ge=0)
    """Steps over which the rate rises linearly from zero."""

    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """What the rate does after its warm-up; `step` halves it at `milestones`."""

    milestones: tuple[float, ...] = (0.6, 0.75, 0.9)
    """Shares of the run at which `step` multiplies the rate by `gamma`."""

    gamma: float = Field(0.5, gt=0, le=1)
    """The factor of `step`."""

    final_share: float = Field(0.02, ge=0, le=1)
    """Share of the peak rate at which `cosine` ends."""


class LossConfig(Section):
    """Weights and shapes of the loss terms; formulas are in tsal_dist.losses."""

    sigma_px: float = Field(6.0, gt=0)
    """Width of a landmark's gaussian, in crop pixels."""

    center: float = Field(1.0, ge=0)
    """Weight of the face centre's focal loss."""

    offset: float = Field(0.1, ge=0)
    """Weight of the landmark offsets' smooth L1."""

    structure: float = Field(0.01, ge=0)
    """Weight of the structure-invariant constraint, on labelled and unlabelled clips."""

    unlabelled: float = Field(1.0, ge=0)
    """Final weight of what is learnt from unlabelled frames; 0 makes every recipe `supervised`."""

    tracking: float = Field(0.1, ge=0)
    """Final weight of the teacher's own source: agreement with the frame rebuilt from its neighbour."""

    coordinate: float = Field(1.0, ge=0)
    """Share of the coordinate term within the pseudo-label loss."""

    heat: float = Field(1.0, ge=0)
    """Share of the heatmap term within the pseudo-label loss."""

    ramp_up: float = Field(0.2, ge=0, le=1)
    """Share of the run after burn-in over which that weight rises."""

    ramp_down: float = Field(0.1, ge=0, le=1)
    """Share at the end over which it falls again."""


class SourcesConfig(Section):
    """Where a pseudo-label comes from, and how far its sources may disagree."""

    use: tuple[Literal["heatmap", "center", "track"], ...] = ("heatmap", "center", "track")
    """Sources the teacher computes."""

    views: int = Field(1, ge=1)
    """Augmented views per frame that the teacher averages: a heavier, better teacher."""

    track_share: float = Field(0.5, ge=0, le=1)
    """Weight of the tracked point in the first fusion with its nearest detection."""

    max_disagreement: float = Field(1.67, gt=0)
    """Distance between sources, in sigmas, beyond which a point teaches nothing. Past 2*sqrt(ln 2) a wrong
    target is worse than none."""

    score_warmup: int = Field(50, ge=0)
    """Batches of score statistics to see before scores weigh anything."""


class TeacherConfig(Section):
    """How the calm side learns and absorbs the radical one."""

    absorb: Literal["queue", "ema", "legacy"] = "queue"
    """`queue` averages the last `queue` student snapshots, `ema` only the newest; `legacy` also pulls the
    student, which is elastic averaging and not the paper's text."""

    keep: float = Field(0.7, ge=0, le=1)
    """Share of its own weights the teacher keeps when it absorbs: lambda."""

    queue: int = Field(4, ge=1)
    """Snapshots in the average: Q."""

    buffers: Literal["average", "copy", "keep"] = "average"
    """What absorbing does to norm statistics."""

    own_steps: int = Field(1, ge=0)
    """Gradient steps of its own per cycle."""

    own_lr_share: float = Field(0.2, gt=0)
    """The teacher's rate as a share of the student's: it is the calm one."""

    priority: float = Field(0.0, ge=0, le=1)
    """Share of the clips it labels that are those whose labels the student agrees with least; 0 keeps to the usual
    order and asks for no feedback."""

    average: float = Field(0.99, gt=0, lt=1)
    """Decay per step of the student's own average, which recipes with an averaging teacher publish. It is
    shortened while the student is young."""


class GateConfig(Section):
    """No label is trained on until its teacher is at least as good as the student."""

    enabled: bool = True
    """Off trusts the teacher from the end of burn-in on."""

    slack: float = Field(0.05, ge=0)
    """The teacher's NME may exceed the student's by this share and still label."""


class TrainConfig(Section):
    """One training run."""

    recipe: Literal["supervised", "mean_teacher", "tsal"] = "tsal"
    """The method."""

    steps: int = Field(20_000, ge=1)
    """Optimiser steps of the student."""

    burn_in_steps: int = Field(2_000, ge=0)
    """Steps on labels alone before pseudo-labels count."""

    labelled_batch: int = Field(16, ge=1)
    """Labelled frames per student process and step."""

    unlabelled_batch: int = Field(16, ge=0)
    """Pseudo-labelled frames per student process and step; whole clips, so a multiple of clip_frames."""

    seed: int = Field(0, ge=0)
    """Seeds initial weights, order, augmentation and everything else that is random."""

    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    sources: SourcesConfig = SourcesConfig()
    teacher: TeacherConfig = TeacherConfig()
    gate: GateConfig = GateConfig()
