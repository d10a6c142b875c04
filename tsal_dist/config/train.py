"""What every method shares: steps, batches, optimiser, the losses of labels, when unlabelled frames count."""

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
    """Steps over which the rate rises linearly."""

    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """What the rate does after its warm-up."""

    milestones: tuple[float, ...] = (0.6, 0.75, 0.9)
    """Shares of the run at which `step` multiplies the rate by `gamma`."""

    gamma: float = Field(0.5, gt=0, le=1)
    """The factor of `step`."""

    final_share: float = Field(0.02, ge=0, le=1)
    """Share of the peak rate at which `cosine` ends."""


class LossConfig(Section):
    """Weights and shapes of the loss terms; formulas are in tsal_dist.losses."""

    sigma_px: float = Field(6.0, gt=0)
    """Width of a landmark's gaussian, in crop pixels: unless said, a 42nd of the crop and 4 at least."""

    center: float = Field(1.0, ge=0)
    """Weight of the face centre's focal loss."""

    offset: float = Field(0.1, ge=0)
    """Weight of the landmark offsets' smooth L1."""

    absent: bool = False
    """Whether a labelled frame teaches an empty map for a point that it does not show: unless said, where the labels of
    something other than a face leave points out now and then."""

    unlabelled: float = Field(1.0, ge=0)
    """Final weight of what is learnt from unlabelled frames; at 0 every method is `supervised`, and no teacher is started."""

    headroom: bool = True
    """Whether they count by what the labels leave to be learnt: in full where the student's error on labels that it learns is
    half of that on held-out frames or less, not at all where it is as large. Measured with every published version. In full
    where no frames are held out, and where a teacher was brought along."""

    ramp_up: float = Field(0.2, ge=0, le=1)
    """Share of the run after burn-in over which the weight of unlabelled frames rises."""

    ramp_down: float = Field(0.1, ge=0, le=1)
    """Share at the end over which it falls again."""


class GateConfig(Section):
    """No label is trained on until its teacher is at least as good as the student."""

    enabled: bool = True
    """Off trusts the teacher from the end of burn-in on: unless said, where no frames are held out."""

    slack: float = Field(0.05, ge=0)
    """The teacher's NME may exceed the student's by this share and still label."""


class TrainConfig(Section):
    """One training run."""

    steps: int = Field(20_000, ge=1)
    """Optimiser steps of the student."""

    burn_in_steps: int = Field(2_000, ge=0)
    """Steps on labels alone before pseudo-labels count."""

    labelled_batch: int = Field(16, ge=1)
    """Labelled frames per student process and step: unless said, no more than there are."""

    unlabelled_batch: int = Field(16, ge=0)
    """Pseudo-labelled frames per student process and step; whole clips, so a multiple of clip_frames."""

    seed: int = Field(0, ge=0)
    """Seeds initial weights, order, augmentation and everything else that is random."""

    mirror_until: float = Field(1.0, ge=0, le=1)
    """Share of the run after which the student sees no mirror images any more. Labels are seldom those of a mirrored
    picture mirrored back, and a net that learns from both fits neither: `evaluate` says by how much they lean."""

    average: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the average that is kept beside the student, whatever the method: it is what is evaluated,
    exported and, where the method says so, published. It is shortened while the student is young; 0 keeps none."""

    priority: float = Field(0.0, ge=0, le=1)
    """Share of the clips that the teacher labels which are those whose labels the student agrees with least; 0 keeps to
    the usual order and asks for no feedback."""

    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    gate: GateConfig = GateConfig()

    @property
    def mirrored_steps(self) -> int:
        """Steps in which the student may see mirror images."""
        return round(self.mirror_until * self.steps)
