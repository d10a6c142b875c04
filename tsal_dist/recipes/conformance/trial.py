"""A method with everything that its parts meet in a run, small: frames, a panel that has answered, labels that have travelled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from tsal_dist.models.companions import Fitting, learn_companions
from tsal_dist.models.detectors import build_detector, stride_of
from tsal_dist.pseudo.schema import LabelBatch
from tsal_dist.recipes.api import Lesson, Recipe, Task
from tsal_dist.recipes.find import find_method
from tsal_dist.recipes.frames import Answers, Frames, PseudoFrames
from tsal_dist.recipes.labelling import Limits, label
from tsal_dist.recipes.steps import make_targets
from tsal_dist.records import Clip, FrameRef
from tsal_dist.roles.batches import enter_view, leave_view, stack_frames
from tsal_dist.trackers.choose import build_tracker

POINTS, CROP_PX, CLIPS, FRAMES, LABELLED = 5, 64, 2, 3, 4
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Trial:
    """One method under some settings. Every call of `recipe()` makes its parts anew."""

    name: str
    settings: Mapping[str, Any]

    @cached_property
    def task(self) -> Task:
        return Task(
            points=POINTS,
            crop_px=CROP_PX,
            stride=stride_of(build_detector("lite", POINTS)),
            radius=4,
            sigma_px=4.0,
            clip_frames=FRAMES,
            load_net=_load_net,
            absent=(0.0,) * (POINTS - 1) + (0.5,),
        )

    def recipe(self) -> Recipe:
        return find_method(self.name).build(self.settings, self.task)

    def student(self, recipe: Recipe) -> nn.Module:
        """What the student trains, always with the same first weights."""
        torch.manual_seed(0)
        return recipe.student.build(lambda: build_detector("lite", POINTS))

    @cached_property
    def clips(self) -> list[Clip]:
        """Moving noise without labels."""
        rng = np.random.default_rng(0)
        return [_clip(rng, number) for number in range(CLIPS)]

    @cached_property
    def labelled(self) -> Frames:
        rng = np.random.default_rng(1)
        frames = stack_frames([_clip(rng, number, frames=1) for number in range(LABELLED)], CPU)
        points = torch.from_numpy(rng.uniform(8, CROP_PX - 8, (LABELLED, POINTS, 2))).float()
        seen = torch.ones(LABELLED, POINTS, dtype=torch.bool)
        return replace(frames, points_NK2=points, visible_NK=seen, labelled_N=seen.all(1))

    @cached_property
    def answers(self) -> Answers:
        """What the panel says of the clips."""
        recipe = self.recipe()
        torch.manual_seed(1)
        panel = {
            name: (member.build() if member.build else _sure(build_detector("lite", POINTS))).eval()
            for name, member in recipe.panel.items()
        }
        known = learn_companions(np.zeros((0, POINTS, 2)), np.ones((0, POINTS), np.bool_), self.task.sigma_px)
        return label(
            panel,
            build_tracker("dis"),
            stack_frames(self.clips, CPU),
            recipe.sources,
            stride=self.task.stride,
            radius=self.task.radius,
            limits=Limits(4.0, CROP_PX),
            fitting=Fitting(known, self.task.sigma_px),
        )

    @cached_property
    def rows(self) -> LabelBatch:
        """As they lie in the queue."""
        return leave_view(self.answers, self.clips, self.recipe().sources, self.task.stride)

    def pseudo(self, fresh: float = 1.0) -> PseudoFrames:
        """As the student meets them."""
        names = [source.name for source in self.recipe().sources]
        return enter_view(self.rows, self.clips, names, np.full(len(self.rows), fresh, np.float32), CPU)

    def lessons(self, recipe: Recipe, seed: int = 0) -> list[Lesson]:
        """What the student learns from, with every point counting."""
        pseudo = self.pseudo()
        targets = {
            name: replace(target, weight_NK=torch.ones_like(target.weight_NK))
            for name, target in make_targets(recipe.label, pseudo.evidence, pseudo.frames).items()
        }
        return list(recipe.mix(Lesson(pseudo.frames, targets), np.random.default_rng(seed)))


def _clip(rng: np.random.Generator, number: int, frames: int = FRAMES) -> Clip:
    return Clip(
        image_THWC=rng.integers(0, 256, (frames, CROP_PX, CROP_PX, 3), dtype=np.uint8),
        points_TK2=np.zeros((frames, POINTS, 2), np.float32),
        visible_TK=np.zeros((frames, POINTS), np.bool_),
        labelled_T=np.zeros(frames, np.bool_),
        to_crop_23=np.eye(2, 3),
        box_4=np.array([0, 0, CROP_PX, CROP_PX], np.float32),
        face_px=0.8 * CROP_PX,
        video=f"video {number}",
        frames_T=np.arange(frames, dtype=np.int32),
        ref=FrameRef(0, FRAMES * number),
        stride=1,
        sample_id=number,
        pad=False,
    )


def _sure(net: nn.Module) -> nn.Module:
    """A net whose maps have peaks, as if it had learnt something."""
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    return net


def _load_net(place: str) -> nn.Module:
    """A detector of another kind: for methods that are taught by one."""
    torch.manual_seed(2)
    return build_detector("hrnet_w18", POINTS).eval()
