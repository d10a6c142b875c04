"""The radical side: learns from labels and from what the teacher's sources agree on, and sets the pace of the run.

One step, in order:

    plan        rank 0 says which label rows each rank trains on, and whether to stop      (one broadcast);
                a step ahead where reader processes can use the time
    gather      labelled frames from the stream, pseudo-labelled ones from the feed
    target      sources -> targets with weights, by what is usual over all ranks; a frame that has a truth is taught that
    mix         the harder views in which they are learnt
    learn       forward and backward, piece by piece where memory is short; one optimiser step. Counts, scores and peaks are
                summed over ranks in one reduction, and what is only watched is read a step later
    average     the copy kept beside the student moves along
    pass on     weights for the teacher, now and then

A late teacher costs fresh labels, not steps; unless steps without labels would make all that it makes too old (`run_ahead_limit`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from tsal_dist.config import RunConfig
from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.data.stream import ClipStream
from tsal_dist.dist.step_sums import StepSums
from tsal_dist.engine.api import Engine
from tsal_dist.engine.batch_norms import mixes_frames, statistics_kept
from tsal_dist.engine.buffers import mean_over_ranks
from tsal_dist.losses.term import Term
from tsal_dist.metrics.gauge import CollapseGauge, measure
from tsal_dist.observe.meters import Pace
from tsal_dist.observe.profiler import StepProfiler, mark_phase
from tsal_dist.pseudo.plan_source import PlanSource
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.recipes.api import Lesson, Progress, Recipe, Task, Terms
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.steps import (
    OwnPoints,
    add_terms,
    make_targets,
    student_terms,
    term_weights,
    total_loss,
)
from tsal_dist.recipes.students import part_of
from tsal_dist.recipes.target import Target, Targets
from tsal_dist.roles.batches import stack_frames
from tsal_dist.roles.feedback import Notes
from tsal_dist.roles.label_feed import Delivered, LabelFeed
from tsal_dist.roles.label_usage import LabelUsage

log = logging.getLogger(__name__)

MIX_WORD = 3
"""Tells what a method draws from the readers' own draws, under one seed."""


@dataclass
class Student:
    """One rank of the student role. `planner` is rank 0's alone; `feed` is None for a method without a teacher."""

    config: RunConfig
    recipe: Recipe
    rank: int
    world: int
    engine: Engine
    task: Task
    stream: ClipStream
    average: StepAverage | None
    """Moves along at every step; None where the config keeps none."""
    gauge: CollapseGauge
    feed: LabelFeed | None
    planner: PlanSource | None
    usage: LabelUsage | None = None
    """Rank 0's: what all ranks were given of the queue."""
    notes: Notes | None = None
    """For the teacher, of the labels it disagrees with; where they are asked for."""
    sums: StepSums = field(default_factory=StepSums)
    profiler: StepProfiler = field(default_factory=StepProfiler)
    pace: Pace = field(default_factory=lambda: Pace(mark=mark_phase))
    """What its time goes into, between two lines of metrics."""
    headroom: float = 1.0
    """What pseudo-labels count, beside their ramp."""
    ahead: int = 0
    """Steps that are planned before they come, if there are labels for them, so that their pixels are read meanwhile."""
    coming: dict[int, Plan] = field(default_factory=dict)
    """The plans of this step and of those ahead."""
    lost_elsewhere: bool = False
    """Whether a rank above 0 could not read rows that it was given and rank 0 does not know; every rank says the same."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last step, this rank's own; reduced over ranks when they are written down."""

    @property
    def step_number(self) -> int:
        """Steps taken since the run began."""
        return self.engine.steps

    @property
    def done(self) -> bool:
        return self.step_number >= self.config.train.steps

    @property
    def numbers_due(self) -> bool:
        """Whether this step is written down: now and then, and whenever it is saved."""
        step = self.step_number
        return step % self.config.runtime.log.every == 0 or self.config.saves_after(step)

    def expect(self, plan: Plan) -> None:
        """Have the rows of a step to come read."""
        self.coming[plan.step] = plan
        if self.feed:
            self.feed.expect(plan)

    @property
    def progress(self) -> Progress:
        """Where it stands, and what unlabelled frames count there."""
        return Progress.at(self.step_number, self.config.train)

    def step(self) -> None:
        """Take one step with the rows that its plan gives; without any it is a step on labels alone."""
        step = self.step_number
        plan = self.coming.pop(step, None)
        device = next(self.engine.model.parameters()).device
        self._take_in_late_sums()
        with self.pace.phase("data"):
            labelled = stack_frames(next(self.stream), device)
            delivered = self.feed.take(plan) if self.feed and plan else None
        targets: Targets = {}
        lessons: Sequence[Lesson] = ()
        if delivered:
            pseudo = delivered.pseudo
            targets = make_targets(self.recipe.label, pseudo.evidence, pseudo.frames, self.headroom)
            rng = generator_for(self.config.train.seed, MIX_WORD, step, self.rank)
            lessons = self.recipe.mix(Lesson(pseudo.frames, targets), rng)
        weights = term_weights(self.recipe.terms, self.progress, self.config.train.loss)
        found, losses, norm, seen = self._learn(labelled, lessons, weights, delivered)
        self.recipe.after(self.engine.model, self.step_number)
        if self.average:
            self.average.update(self.engine.model)
        self.pace.count("steps")
        self.pace.count("frames", len(labelled) + sum(len(lesson.frames) for lesson in lessons))
        first = next(iter(targets.values()), None)
        taught = next(iter(lessons[0].targets.values())) if lessons else None
        self._measure(found, losses, norm, seen, first, taught, delivered)

    def _learn(
        self,
        labelled: Frames,
        lessons: Sequence[Lesson],
        weights: Mapping[str, float],
        delivered: Delivered | None,
    ) -> tuple[Terms, Tensor, Tensor | None, OwnPoints | None]:
        """Forward and backward over the whole batch, in as many pieces as the engine is to add up, and one step."""
        pieces = self.config.runtime.student.accumulate
        device = labelled.image_NHWC.device
        all_terms, all_seen, loss, norm = [], [], torch.zeros((), device=device), None
        for place in range(pieces):
            part = [
                Lesson(
                    lesson.frames.piece(place, pieces),
                    {name: target.piece(place, pieces) for name, target in lesson.targets.items()},
                )
                for lesson in lessons
            ]
            # Entered here and left before the update: whatever it does to the weights is undone by then.
            with ExitStack() as around:
                around.enter_context(self.recipe.around(self.engine.model))
                terms, seen = student_terms(
                    self.engine.forward,
                    self.recipe.student,
                    labelled.piece(place, pieces),
                    part,
                    self.recipe.terms,
                    self.task,
                    self._apart,
                )
                all_seen += [seen] if seen else []
                last = place + 1 == pieces
                counts = self.sums.reduce(
                    {name: term.count for name, term in terms.items()},
                    self._late_numbers(_joined(all_seen), delivered) if last else {},
                )
                piece_loss = total_loss(terms, counts, weights, self.world)
                norm = self.engine.step(piece_loss, around.close)
            all_terms.append({name: Term(term.total.detach(), term.count) for name, term in terms.items()})
            loss = loss + piece_loss.detach() / pieces
        return add_terms(all_terms), loss, norm, _joined(all_seen)

    @cached_property
    def _apart(self) -> Callable[[], AbstractContextManager[None]] | None:
        """Within which lessons have a pass of their own; None where they may share that of the labels."""
        model = self.engine.model
        return partial(statistics_kept, model) if mixes_frames(model, self.config.runtime.student) else None

    def steps_to_plan(self) -> list[int]:
        """This step and those ahead, as far as they want labels and have no plan yet."""
        train = self.config.train
        if self.feed is None:
            return []
        first, last = (
            max(self.step_number, train.burn_in_steps),
            min(self.step_number + self.ahead, train.steps - 1),
        )
        return [step for step in range(first, last + 1) if step not in self.coming]

    def end_burn_in(self) -> None:
        """From here on unlabelled frames count, and the average forgets the young student."""
        if self.average:
            self.average.restart(self.engine.model)

    def weights_to_publish(self) -> dict[str, Tensor]:
        """What the teacher is sent, complete, on the CPU. Collective."""
        if self.recipe.publishes == "average":
            assert self.average is not None, "checked when the student was built"
            return self._averaged()
        return self.engine.full_weights()

    def extra_to_publish(self) -> dict[str, Tensor]:
        """What rides with a version."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.recipe.extra().items()}

    def trained_weights(self) -> dict[str, Tensor]:
        """The detector's weights as they are evaluated: averaged over the last steps, if an average is kept. Collective."""
        weights = self._averaged() if self.average else self.engine.full_weights()
        return part_of(weights, self.recipe.student.detector)

    def own_weights(self) -> dict[str, Tensor]:
        """The detector's weights of this very step: what the gate compares. Collective."""
        return part_of(self.engine.full_weights(), self.recipe.student.detector)

    def _averaged(self) -> dict[str, Tensor]:
        """Complete, on the CPU. Collective."""
        assert self.average is not None, "asked where it is kept"
        self._even_out()
        return {name: value.detach().to("cpu", copy=True) for name, value in self.average.tensors.items()}

    def _even_out(self) -> None:
        """Make the norm statistics in the average those of all ranks, as the engine does with its own. Collective."""
        if self.average:
            buffers = [name for name, _ in self.engine.model.named_buffers()]
            mean_over_ranks([self.average.tensors[name] for name in buffers if name in self.average.tensors])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the role needs to go on, the same on every rank. Collective."""
        self._take_in_late_sums()
        self._even_out()
        return {
            "engine": self.engine.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "method": self.recipe.student_state(),
            "detector": self.recipe.student.detector,
            "gauge": self.gauge.state_dict(),
            "headroom": self.headroom,
            "stream": self.stream.state_dict(),
            "planner": self.planner.state_dict() if self.planner else None,
            "notes": self.notes.state_dict() if self.notes else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, for any number of ranks."""
        self.sums.forget()
        self.engine.load_state_dict(state["engine"])
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])
        self.recipe.load_student_state(state["method"])
        self.gauge.load_state_dict(state["gauge"])
        self.headroom = state.get("headroom", 1.0)  # a checkpoint of before it was measured has none
        self.stream.load_state_dict(state["stream"])
        if self.planner and state["planner"] is not None:
            self.planner.load_state_dict(state["planner"])
        if self.notes:
            self.notes.load_state_dict(state["notes"], self.rank, self.world)

    def close(self) -> None:
        self.stream.close()
        if self.feed:
            self.feed.close()
        if self.planner:
            self.planner.close()

    def _late_numbers(self, seen: OwnPoints | None, delivered: Delivered | None) -> dict[str, Tensor]:
        """What is watched of a step, this rank's share of it; of all ranks, so that they agree on whether to go on."""
        if seen is None or delivered is None:
            return {}
        peak = seen.peak_NK.mean().double()
        lost = len(self.feed.consumer.damaged) if self.feed and self.rank else 0
        return {
            "moments": self.recipe.label.moments(delivered.pseudo.evidence),
            "peak": peak,
            "lost": torch.full_like(peak, lost),
        }

    def _take_in_late_sums(self) -> None:
        """Learn from the step before what is usual, whether the detector still says something, and whether rows are lost."""
        late = self.sums.take_late()
        if not late:
            return
        self.lost_elsewhere |= bool(late["lost"] > 0)
        self.recipe.label.observe(late["moments"])
        self.gauge.observe(float(late["peak"]) / self.world)
        if self.gauge.reference is None:
            self.gauge.end_burn_in()  # the first unlabelled frames it sees: what it must not fall far below

    def _measure(
        self,
        terms: Terms,
        loss: Tensor,
        norm: Tensor | None,
        seen: OwnPoints | None,
        target: Target | None,
        taught: Target | None,
        delivered: Delivered | None,
    ) -> None:
        """Watch what has to be watched at every step; the rest, for which a GPU would wait, only where it is due.

        `target` is as the labels gave it, `taught` as the first lesson shows it: where what was `seen` should have been.
        """
        if self.numbers_due:
            found = {f"loss/{name}": float(term.mean().detach()) for name, term in terms.items()}
            # Each rank's sum is over the counts of all ranks and multiplied by their number: the mean over ranks is the loss.
            found |= {"loss/total": float(loss), "train/lr": self.engine.lr}
            if norm is not None:
                found["train/grad_norm"] = float(norm)
            if self.feed:
                found["labels/unreadable"] = float(self.feed.unreadable)
            self.metrics = found
        if not (seen and target and taught and delivered):
            return
        if self.numbers_due:
            self.metrics |= _look_at(seen, target, delivered)
        if self.notes:
            self.notes.take(delivered.rows, self.recipe.note(seen.points_NK2, taught, self.task))


def _look_at(seen: OwnPoints, target: Target, delivered: Delivered) -> dict[str, float]:
    """One step's pseudo-labels in numbers."""
    weight_NK = target.weight_NK.detach().cpu().numpy()
    look = measure(seen.peak_NK.cpu().numpy(), seen.points_NK2.cpu().numpy(), weight_NK)
    found = {f"unlabelled/{name}": value for name, value in look.items()}
    found |= {f"weight/{name}": float(value.mean()) for name, value in target.notes.items()}
    return found | {
        "weight/point": float(weight_NK.mean()),
        "staleness/steps": float(delivered.lag_steps_N.mean()),
        "staleness/rho": float(1 - delivered.pseudo.evidence.fresh_N.mean()),
        "labels/use": float(delivered.use_N.mean()),
    }


def _joined(seen: Sequence[OwnPoints]) -> OwnPoints | None:
    if not seen:
        return None
    return OwnPoints(
        *(torch.cat(parts) for parts in zip(*((one.points_NK2, one.peak_NK) for one in seen), strict=True))
    )
