"""The calm side: absorbs the student, learns a little on its own, and labels for as long as it is wanted.

One cycle, in order:

    absorb   each student version published since the last cycle: once, in order
    learn    after each of them, a few steps of its own from its single source
    check    against the student on held-out frames: a teacher that is worse must not teach
    label    some clips of its stream, as one segment; unless the student is behind on what it has

Its own steps are tied to versions and not to the clock: what it becomes does not depend on how fast anyone is.
Weights change only between segments, so a segment has one teacher version.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsal_dist.config import RunConfig
from tsal_dist.data.stream import ClipStream
from tsal_dist.dist.collectives import sum_tensors
from tsal_dist.engine.api import Engine
from tsal_dist.losses.ramp import ramp
from tsal_dist.metrics.gate import ReadinessGate
from tsal_dist.observe.meters import Pace
from tsal_dist.pseudo.producer import Producer
from tsal_dist.recipes.api import Recipe, TeacherUpdate
from tsal_dist.recipes.labelling import Limits, find_flow, label, neighbours
from tsal_dist.recipes.steps import Scale, teacher_terms, term_weights, total_loss
from tsal_dist.roles.batches import leave_view, stack_frames
from tsal_dist.roles.feedback import WishedClips, Wishes
from tsal_dist.roles.flow_training import FlowTrainer
from tsal_dist.trackers.flow import Tracker
from tsal_dist.weights.publish import WeightPublisher

log = logging.getLogger(__name__)


@dataclass
class Teacher:
    """One rank of the teacher role."""

    config: RunConfig
    recipe: Recipe
    rank: int
    world: int
    engine: Engine
    scale: Scale
    tracker: Tracker
    update: TeacherUpdate
    labelled: ClipStream
    study: ClipStream
    """Unlabelled clips to learn from."""
    clips: ClipStream | WishedClips
    """Unlabelled clips to label, each once per epoch over all ranks; with feedback, what the student asks for too."""
    producer: Producer
    gate: ReadinessGate
    elastic: bool = False
    """Whether the student is pulled back, and so needs this role's weights."""
    publisher: WeightPublisher | None = None
    """Rank 0's, where they are needed."""
    flow: FlowTrainer | None = None
    """For a tracker that is a network: what trains it."""
    version: int = -1
    """Student step of the newest version absorbed; -1 before the first."""
    turn: int = -1
    """The last step before which it took its turn, where both roles keep a fixed schedule."""
    labelled_rows: int = 0
    pace: Pace = field(default_factory=Pace)
    """What its time goes into, between two lines of metrics."""
    metrics: dict[str, float] = field(default_factory=dict)

    def absorb(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Take in one published version, and learn from it on. Collective."""
        # One that comes late, or whose past was lost, has nothing of its own to keep either.
        if step <= self.config.train.burn_in_steps or self.version < 0:
            self.update.follow(self.engine.model, weights)
        else:
            self.update.absorb(self.engine.model, weights)
        self.version = step
        if self.flow:
            self._learn_flow(self.flow)
        if self.recipe.teacher_learns and step > self.config.train.burn_in_steps:
            for _ in range(self.config.train.teacher.own_steps):
                self._learn()
        if self.elastic:
            weights = self.engine.full_weights()
            if self.publisher:
                self.publisher.offer(step, weights)
                self.publisher.flush(self.config.runtime.deadlines.silent_s)

    @property
    def may_label(self) -> bool:
        """Whether its labels are wanted at all: after burn-in, and with the gate open."""
        ready = self.version >= self.config.train.burn_in_steps
        return ready and (self.gate.is_open or not self.config.train.gate.enabled)

    @property
    def wishes(self) -> Wishes | None:
        """What the student asks for, where it is asked."""
        return self.clips.wishes if isinstance(self.clips, WishedClips) else None

    def label(self) -> int:
        """Label the next clips and publish them; returns the rows. The caller asks `producer.ready()` first."""
        model, settings = self.engine.model, self.config.model
        clips = next(self.clips)
        device = next(model.parameters()).device
        model.eval()
        answers = label(
            model,
            self.tracker,
            stack_frames(clips, device),
            self.recipe.sources,
            stride=self.scale.stride,
            radius=self.scale.radius,
            views=self.config.train.sources.views,
            limits=Limits(settings.tracker.max_fb_error_px, settings.tracker.max_move * settings.crop_px),
        )
        model.train()
        rows = leave_view(answers, clips, self.recipe.sources)
        self.producer.publish(rows, self.version)
        self.labelled_rows += len(rows)
        self.pace.count("labels", len(rows))
        self.metrics |= {
            f"labels/valid_{source}": float(rows.valid_NK[source].mean()) for source in self.recipe.sources
        }
        self.metrics["labels/peak"] = float(np.mean(rows.score_NK[self.recipe.sources[0]]))
        return len(rows)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the role needs to go on. Collective."""
        return {
            "engine": self.engine.state_dict(),
            "update": {place: dict(tensors) for place, tensors in self.update.state_dict().items()},
            "gate": self.gate.state_dict(),
            "labelled": self.labelled.state_dict(),
            "study": self.study.state_dict(),
            "clips": self.clips.state_dict(),
            "version": self.version,
            "turn": self.turn,
            "flow": self.flow.state_dict() if self.flow else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, for any number of ranks."""
        self.engine.load_state_dict(state["engine"])
        self.update.load_state_dict(state["update"])
        self.gate.load_state_dict(state["gate"])
        self.labelled.load_state_dict(state["labelled"])
        self.study.load_state_dict(state["study"])
        self.clips.load_state_dict(state["clips"])
        self.version = int(state["version"])
        self.turn = int(state["turn"])
        if self.flow:
            self.flow.load_state_dict(state["flow"])

    def close(self) -> None:
        self.labelled.close()
        self.study.close()
        if self.publisher:
            self.publisher.close()
        self.clips.close()

    def _learn_flow(self, flow: FlowTrainer) -> None:
        """Train the tracker on clips, also during burn-in: when labels are wanted it should be able to track."""
        device = next(self.engine.model.parameters()).device
        for _ in range(self.config.model.tracker.steps_per_version):
            frames = stack_frames(next(self.study), device)
            self.metrics |= flow.step(frames, neighbours(frames), self.engine.model)

    def _learn(self) -> None:
        """One step of its own: labels, and agreement with the frame rebuilt from its neighbour."""
        train = self.config.train
        device = next(self.engine.model.parameters()).device
        labelled = stack_frames(next(self.labelled), device)
        unlabelled = stack_frames(next(self.study), device)
        pairs = neighbours(unlabelled)
        with torch.no_grad():
            flow = find_flow(self.tracker, unlabelled, pairs)
        terms = teacher_terms(
            self.engine.forward, self.engine.model, labelled, unlabelled, pairs, flow, self.scale
        )
        total = train.steps - train.burn_in_steps
        up, down = round(train.loss.ramp_up * total), round(train.loss.ramp_down * total)
        share = ramp(self.version - train.burn_in_steps, up, down, total)
        weights = term_weights(train.loss, train.loss.tracking * share)
        counts = sum_tensors({name: term.count for name, term in terms.items()})
        loss = total_loss(terms, counts, weights, self.world)
        norm = self.engine.step(loss)
        self.metrics |= {f"loss/{name}": float(term.mean().detach()) for name, term in terms.items()}
        self.metrics |= {"loss/total": float(loss.detach()) / self.world, "train/lr": self.engine.lr}
        if norm is not None:
            self.metrics["train/grad_norm"] = float(norm)
