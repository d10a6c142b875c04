"""A teacher's own lesson from clips: a frame should look the same as the frame rebuilt from its neighbour."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tsal_dist.geometry.warp import warp
from tsal_dist.losses.consistency import tracking_consistency
from tsal_dist.models.input import normalize
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import Progress, Task, Terms
from tsal_dist.recipes.steps import split_output
from tsal_dist.recipes.study import Study
from tsal_dist.recipes.terms import structure_term


@dataclass(frozen=True)
class RebuiltFrames:
    """Agreement of a frame's maps with those of the frame rebuilt from the one before, and the constraint on sizes."""

    task: Task
    tracking: float = 0.1
    """Final weight of the agreement."""
    structure: float = 0.01
    steps: int = 1
    lr_share: float = 0.2

    def __call__(self, study: Study) -> tuple[DetectorOutput, Terms]:
        """One forward pass with a graph over all frames, one without over the rebuilt ones.

        Flow goes from the frame before to the frame after; a frame is rebuilt by the way back.
        """
        labelled, clips, pairs, flow = study.labelled, study.unlabelled, study.pairs, study.flow
        images_N3HW = normalize(torch.cat([labelled.image_NHWC, clips.image_NHWC]))
        mine, theirs = split_output(study.forward(images_N3HW), [len(labelled), len(clips)])
        clip_N3HW = images_N3HW[len(labelled) :]
        with torch.no_grad():
            rebuilt_P3HW, inside_P1HW = warp(clip_N3HW[pairs.before_P], flow.backward_N2HW)
            rebuilt = study.without_gradient(rebuilt_P3HW)
            valid_P1HW = inside_P1HW & flow.reverse.valid_N1HW
        return mine, {
            "tracking": tracking_consistency(
                theirs.heat_SNKhw[:, pairs.after_P], rebuilt.heat_SNKhw, valid_P1HW
            ),
            "structure": structure_term(theirs, clips, self.task),
        }

    def weights(self, progress: Progress) -> Mapping[str, float]:
        # By the ramp and not by the agreement's weight: without the agreement the constraint stays.
        ramp = progress.ramp
        return {"tracking": self.tracking * ramp, "structure": self.structure * (ramp > 0)}
