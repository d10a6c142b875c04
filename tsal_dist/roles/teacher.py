"""The calm side: absorbs the student, learns a little on its own, and labels for as long as it is wanted.

One cycle, in order:

    absorb   what the student has published since the last cycle: every version, in order, or the newest, as the method wants
    learn    after each that it absorbs, a few steps of its own from its single source
    check    against the student on held-out frames: a teacher that is worse must not teach
    label    some clips of its stream, as one segment; unless the student is behind on what it has

Its own steps are tied to versions and not to the clock: what it becomes does not depend on how fast anyone is.
Weights change only between segments, so a segment has one teacher version.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tsal_dist.config import RunConfig
from tsal_dist.data.stream import ClipStream
from tsal_dist.dist.collectives import sum_tensors
from tsal_dist.engine.api import Engine
from tsal_dist.engine.inference import Inference
from tsal_dist.errors import CheckpointError, TrainingError
from tsal_dist.losses.term import Term
from tsal_dist.metrics.gate import ReadinessGate
from tsal_dist.models.companions import Fitting
from tsal_dist.observe.meters import Pace
from tsal_dist.observe.profiler import mark_phase
from tsal_dist.pseudo.producer import Producer
from tsal_dist.recipes.api import Member, OwnLessons, Progress, Recipe, Task, Terms
from tsal_dist.recipes.frames import Answers, neighbours
from tsal_dist.recipes.labelling import Limits, label, state_errors
from tsal_dist.recipes.steps import add_terms, supervised_terms, supervised_weights, total_loss
from tsal_dist.recipes.students import part_of
from tsal_dist.recipes.study import Study
from tsal_dist.roles.batches import leave_view, stack_frames
from tsal_dist.roles.feedback import WishedClips, Wishes
from tsal_dist.roles.flow_training import FlowTrainer
from tsal_dist.roles.score_meter import ScoreMeter
from tsal_dist.trackers.flow import Tracker
from tsal_dist.weights.format import EXTRA

log = logging.getLogger(__name__)


@dataclass
class Teacher:
    """One rank of the teacher role."""

    config: RunConfig
    recipe: Recipe
    rank: int
    world: int
    engine: Engine
    task: Task
    tracker: Tracker
    panel: Mapping[str, nn.Module]
    """The nets that are asked, by name. The first one is the engine's."""
    labelled: ClipStream
    study: ClipStream
    """Unlabelled clips to learn from."""
    clips: ClipStream | WishedClips
    """Unlabelled clips to label, each once per epoch over all ranks; with feedback, what the student asks for too."""
    producer: Producer
    gate: ReadinessGate
    scores: ScoreMeter | None = None
    """What a score means in pixels, where a source is to state it."""
    fitting: Fitting | None = None
    """What the labels say of points beside each other, where a source reads companions."""
    flow: FlowTrainer | None = None
    """For a tracker that is a network: what trains it."""
    version: int = -1
    """Student step of the newest version absorbed; -1 before the first."""
    last_turn_step: int = -1
    """The last step before which it took its turn, where both roles keep a fixed schedule."""
    labelled_rows: int = 0
    pace: Pace = field(default_factory=lambda: Pace(mark=mark_phase))
    """What its time goes into, between two lines of metrics."""
    metrics: dict[str, float] = field(default_factory=dict)

    def absorb(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Take in one published version, and learn from it on. Collective."""
        # One that comes late, or whose past was lost, has nothing of its own to keep either.
        young = step <= self.config.train.burn_in_steps or self.version < 0
        extra = part_of(weights, EXTRA)
        weights = {name: value for name, value in weights.items() if not name.startswith(EXTRA)}
        for name, member in self.recipe.panel.items():
            take = member.follow.follow if young else member.follow.absorb
            take(self.panel[name], self._part(member, weights), extra)
        self.version = step
        if self.flow:
            self._learn_flow(self.flow)
        if self.recipe.learn and step > self.config.train.burn_in_steps:
            for _ in range(self.recipe.learn.steps):
                self._learn(self.recipe.learn)
        if self.scores:
            device = next(self.engine.model.parameters()).device
            self.scores.look(self.engine.infer, stack_frames(next(self.labelled), device))

    def _part(self, member: Member, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a member takes of a version: its part, or else what the student's detector is."""
        return part_of(weights, member.part or self.recipe.student.detector)

    @cached_property
    def eyes(self) -> dict[str, Inference]:
        """The panel's nets as they look at frames: under the engine's precision and memory format."""
        settings, device = self.config.runtime.teacher, next(self.engine.model.parameters()).device
        return {
            name: self.engine.infer if net is self.engine.model else Inference(net, settings, device)
            for name, net in self.panel.items()
        }

    @property
    def may_label(self) -> bool:
        """Whether its labels are wanted at all: after burn-in, and with the gate open."""
        ready = self.version >= self.config.train.burn_in_steps
        return ready and (self.gate.is_open or not self.config.train.gate.enabled)

    @property
    def progress(self) -> Progress:
        """Where the version it has absorbed stands."""
        return Progress.at(self.version, self.config.train)

    @property
    def wishes(self) -> Wishes | None:
        """What the student asks for, where it is asked."""
        return self.clips.wishes if isinstance(self.clips, WishedClips) else None

    def label(self) -> int:
        """Label the next clips and publish them; returns the rows. The caller asks `producer.ready()` first."""
        settings = self.config.model
        clips = next(self.clips)
        device = next(self.engine.model.parameters()).device
        at_once = max(1, self.config.runtime.label_batch // self.config.data.clip_frames)
        parts = [
            label(
                self.eyes,
                self.tracker,
                stack_frames(clips[start : start + at_once], device),
                self.recipe.sources,
                stride=self.task.stride,
                radius=self.task.radius,
                limits=Limits(settings.tracker.max_fb_error_px, settings.tracker.max_move * settings.crop_px),
                fitting=self.fitting,
                mirror_K=self.task.mirror_K,
            )
            for start in range(0, len(clips), at_once)
        ]
        answers = state_errors(
            Answers.join(parts), self.recipe.sources, self.scores.known if self.scores else None
        )
        rows = leave_view(answers, clips, self.recipe.sources, self.task.stride)
        self.producer.publish(rows, self.version)
        self.labelled_rows += len(rows)
        self.pace.count("labels", len(rows))
        self.metrics |= {
            f"labels/valid_{source}": float(valid_NK.mean()) for source, valid_NK in rows.valid_NK.items()
        }
        self.metrics["labels/peak"] = float(np.mean(rows.score_NK[self.recipe.sources[0].name]))
        return len(rows)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the role needs to go on. Collective."""
        return {
            "engine": self.engine.state_dict(),
            "panel": {
                name: {
                    "follow": dict(member.follow.state_dict()),
                    "weights": {} if net is self.engine.model else dict(net.state_dict()),
                }
                for (name, member), net in zip(self.recipe.panel.items(), self.panel.values(), strict=True)
            },
            "method": self.recipe.teacher_state(),
            "other_net": next(iter(self.recipe.panel.values())).build is not None,
            "scores": self.scores.state_dict() if self.scores else {},
            "gate": self.gate.state_dict(),
            "labelled": self.labelled.state_dict(),
            "study": self.study.state_dict(),
            "clips": self.clips.state_dict(),
            "version": self.version,
            "last_turn_step": self.last_turn_step,
            "flow": self.flow.state_dict() if self.flow else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, for any number of ranks."""
        # The engine's net, which comes first, has its weights in the engine's own state.
        kept = sorted(state["panel"], key=lambda name: (bool(state["panel"][name]["weights"]), name))
        mine = sorted(self.panel, key=lambda name: (self.panel[name] is not self.engine.model, name))
        if kept != mine:
            raise CheckpointError(
                f"The checkpoint has a panel of {', '.join(kept)}, and this method's is of {', '.join(mine)}. It is of another "
                f"method, or of another version of it: start again (--clean), or use the code it was made with."
            )
        self.engine.load_state_dict(state["engine"])
        for name, member in self.recipe.panel.items():
            member.follow.load_state_dict(state["panel"][name]["follow"])
            if self.panel[name] is not self.engine.model:
                self.panel[name].load_state_dict(state["panel"][name]["weights"])
        self.recipe.load_teacher_state(state["method"])
        if self.scores:
            self.scores.load_state_dict(state["scores"])
        self.gate.load_state_dict(state["gate"])
        self.labelled.load_state_dict(state["labelled"])
        self.study.load_state_dict(state["study"])
        self.clips.load_state_dict(state["clips"])
        self.version = int(state["version"])
        self.last_turn_step = int(state["last_turn_step"])
        if self.flow:
            self.flow.load_state_dict(state["flow"])

    def close(self) -> None:
        self.labelled.close()
        self.study.close()
        self.clips.close()

    def _learn_flow(self, flow: FlowTrainer) -> None:
        """Train the tracker on clips, also during burn-in: when labels are wanted it should be able to track."""
        device = next(self.engine.model.parameters()).device
        for _ in range(self.config.model.tracker.steps_per_version):
            frames = stack_frames(next(self.study), device)
            self.metrics |= flow.step(frames, neighbours(frames), self.engine.infer)

    def _learn(self, lessons: OwnLessons) -> None:
        """One step of its own: labels, and what the method has it learn from clips."""
        train, pieces = self.config.train, self.config.runtime.teacher.accumulate
        device = next(self.engine.model.parameters()).device
        labelled = stack_frames(next(self.labelled), device)
        unlabelled = stack_frames(next(self.study), device)
        weights = {**supervised_weights(train.loss), **lessons.weights(self.progress)}
        all_terms: list[Terms] = []
        loss, norm = torch.zeros((), device=device), None
        for place in range(pieces):
            mine = labelled.piece(place, pieces)
            study = Study(
                self.engine.forward, self.engine.infer, mine, unlabelled.piece(place, pieces), self.tracker
            )
            output, further = lessons(study)
            terms = supervised_terms(output, mine, self.task) | further
            counts = sum_tensors({name: term.count for name, term in terms.items()})
            piece_loss = total_loss(terms, counts, weights, self.world)
            norm = self.engine.step(piece_loss)
            all_terms.append({name: Term(term.total.detach(), term.count) for name, term in terms.items()})
            loss = loss + piece_loss.detach() / pieces
        found = add_terms(all_terms)
        self.metrics |= {f"loss/{name}": float(term.mean()) for name, term in found.items()}
        self.metrics |= {"loss/total": float(loss), "train/lr": self.engine.lr}
        if norm is not None:
            self.metrics["train/grad_norm"] = float(norm)
            if not math.isfinite(norm):  # the same on every rank: all of them leave
                raise TrainingError(
                    f"The teacher's own step after version {self.version} has a gradient that is not finite. Lower "
                    f"method.own_lr_share or train.optim.lr; it goes on from its last checkpoint, which is whole."
                )
