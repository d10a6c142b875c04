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
from tsal_dist.recipes.target import Evidence
from tsal_dist.records import Clip, FrameRef
from tsal_dist.roles.batches import enter_view, leave_view, stack_frames
from tsal_dist.trackers.choose import build_tracker

POINTS, CROP_PX, CLIPS, FRAMES, LABELLED = 5, 64, 2, 3, 4
CPU = torch.device("cpu")
WATCHED = 200
"""Batches of evidence after which a method that looks at scores for a while has made up its mind."""
A_RUN = "a run"
"""Stands in a setting for the folder of some trained run: the suite has nets, and trains a run where it takes one."""
NEEDED: Mapping[str, Mapping[str, Any]] = {
    name: {"teacher": A_RUN} for name in ("feature_distillation", "quantized_distillation")
}
"""What a method of this package cannot do without."""


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
        return find_method(self.name).build(self.needed, self.task)

    @property
    def needed(self) -> Mapping[str, Any]:
        """Its settings, and what it cannot do without."""
        return {**NEEDED.get(self.name, {}), **self.settings}

    def student(self, recipe: Recipe) -> nn.Module:
        """What the student trains, always with the same first weights."""
        torch.manual_seed(0)
        return recipe.student.build(lambda: build_detector("lite", POINTS))

    def panel_net(self, recipe: Recipe, name: str) -> nn.Module:
        """A net of the panel, always with the same weights."""
        torch.manual_seed(1 + list(recipe.panel).index(name))
        build = recipe.panel[name].build
        return (build() if build else _sure(build_detector("lite", POINTS))).eval()

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
        panel = {name: self.panel_net(recipe, name) for name in recipe.panel}
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

    def agreed(self, seed: int = 2) -> PseudoFrames:
        """The same frames, where all sources say the same and are sure of it: no method has a reason to doubt."""
        pseudo, rng = self.pseudo(), np.random.default_rng(seed)
        said, shape_NSK = pseudo.evidence, pseudo.evidence.score_NSK.shape
        place_N1K2 = torch.from_numpy(rng.uniform(8, CROP_PX - 8, (len(said.fresh_N), 1, POINTS, 2))).float()
        sure = replace(
            said,
            points_NSK2=place_N1K2.expand(*shape_NSK, 2).clone(),
            score_NSK=torch.from_numpy(rng.uniform(0.85, 0.95, shape_NSK)).float(),
            valid_NSK=torch.ones_like(said.valid_NSK),
            fb_error_NK=torch.zeros_like(said.fb_error_NK),
            error_NSK=None if said.error_NSK is None else torch.full_like(said.error_NSK, 0.5),
        )
        return replace(pseudo, evidence=sure)

    def lesson(self, recipe: Recipe) -> Lesson:
        """What the student is taught of them, each point counting as the method says once it has seen much."""
        pseudo = self.agreed()
        watch(recipe, pseudo.evidence, WATCHED)
        return Lesson(pseudo.frames, make_targets(recipe.label, pseudo.evidence, pseudo.frames))

    def lessons(self, recipe: Recipe) -> list[Lesson]:
        """The views of it that the student learns from."""
        return list(recipe.mix(self.lesson(recipe), np.random.default_rng(0)))


def watch(recipe: Recipe, evidence: Evidence, times: int) -> None:
    """Let its labeller see what comes, as the student does before each step."""
    for _ in range(times):
        recipe.label.observe(recipe.label.moments(evidence))


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
