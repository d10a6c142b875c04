"""The radical side: learns from labels and from what the teacher's sources agree on, and sets the pace of the run.

One step, in order:

    plan        rank 0 says which label rows each rank trains on, and whether to stop      (one broadcast);
                a step ahead where reader processes can use the time
    gather      labelled frames from the stream, pseudo-labelled ones from the feed
    target      sources -> points and weights, by what is usual over all ranks
    learn       one forward pass, one optimiser step, counts summed over ranks
    average     the copy kept beside the student moves along
    pass on     weights for the teacher, now and then

A late teacher costs fresh labels, not steps; unless steps without labels would make all that it makes too old (`run_ahead_limit`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tsal_dist.config import RunConfig
from tsal_dist.data.stream import ClipStream
from tsal_dist.dist.collectives import sum_tensors
from tsal_dist.engine.api import Engine
from tsal_dist.losses.ramp import ramp
from tsal_dist.metrics.gauge import CollapseGauge, measure
from tsal_dist.observe.meters import Pace
from tsal_dist.pseudo.plan_source import PlanSource
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.recipes.api import Labeller, Recipe
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.recipes.steps import Predictions, Scale, Terms, student_terms, term_weights, total_loss
from tsal_dist.recipes.target import Target
from tsal_dist.roles.batches import stack_frames
from tsal_dist.roles.elastic import Elastic
from tsal_dist.roles.feedback import Notes, disagreement
from tsal_dist.roles.label_feed import Delivered, LabelFeed
from tsal_dist.roles.label_usage import LabelUsage

log = logging.getLogger(__name__)


@dataclass
class Student:
    """One rank of the student role. `planner` is rank 0's alone; `feed` is None for a method without a teacher."""

    config: RunConfig
    recipe: Recipe
    rank: int
    world: int
    engine: Engine
    scale: Scale
    stream: ClipStream
    labeller: Labeller
    average: StepAverage | None
    """Kept for a method that publishes it."""
    gauge: CollapseGauge
    feed: LabelFeed | None
    planner: PlanSource | None
    usage: LabelUsage | None = None
    """Rank 0's: what all ranks were given of the queue."""
    elastic: Elastic | None = None
    """For averaging in both directions: what pulls the student back."""
    notes: Notes | None = None
    """For the teacher, of the labels it disagrees with; where they are asked for."""
    pace: Pace = field(default_factory=Pace)
    """What its time goes into, between two lines of metrics."""
    ahead: int = 0
    """Steps that are planned before they come, if there are labels for them, so that their pixels are read meanwhile."""
    coming: dict[int, Plan] = field(default_factory=dict)
    """The plans of this step and of those ahead."""
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
        step, runtime = self.step_number, self.config.runtime
        return step % runtime.log.every == 0 or step % runtime.checkpoint.every == 0 or self.done

    def expect(self, plan: Plan) -> None:
        """Have the rows of a step to come read."""
        self.coming[plan.step] = plan
        if self.feed:
            self.feed.expect(plan)

    def step(self) -> None:
        """Take one step with the rows that its plan gives; without any it is a step on labels alone."""
        plan = self.coming.pop(self.step_number, None)
        device = next(self.engine.model.parameters()).device
        with self.pace.phase("data"):
            labelled = stack_frames(next(self.stream), device)
            delivered = self.feed.take(plan) if self.feed and plan else None
        target = self._target(delivered, plan)
        unlabelled = delivered.pseudo.frames if delivered else None
        terms, seen = student_terms(self.engine.forward, labelled, unlabelled, target, self.scale)
        weights = term_weights(self.config.train.loss, self._unlabelled_weight())
        counts = sum_tensors({name: term.count for name, term in terms.items()})
        loss = total_loss(terms, counts, weights, self.world)
        norm = self.engine.step(loss)
        if self.average:
            self.average.update(self.engine.model)
        self.pace.count("steps")
        self.pace.count("frames", len(labelled) + (len(unlabelled) if unlabelled else 0))
        self._measure(terms, loss, norm, seen, target, delivered)

    def steps_to_plan(self) -> list[int]:
        """This step and those ahead, as far as they want labels and have no plan yet."""
        train = self.config.train
        if self.feed is None or train.loss.unlabelled == 0:
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

    def be_pulled_back(self) -> None:
        """Move towards the teacher, where the method averages in both directions. Collective."""
        if self.elastic and self.step_number > self.config.train.burn_in_steps:
            self.elastic.pull(self.engine)

    def weights_to_publish(self) -> dict[str, Tensor]:
        """What the teacher is sent, complete, on the CPU; nothing is changed by asking. Collective."""
        if self.average is None:
            return self.engine.full_weights()
        return {name: value.detach().cpu().clone() for name, value in self.average.tensors.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the role needs to go on, the same on every rank. Collective."""
        return {
            "engine": self.engine.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "labeller": dict(self.labeller.state_dict()),
            "gauge": self.gauge.state_dict(),
            "stream": self.stream.state_dict(),
            "planner": self.planner.state_dict() if self.planner else None,
            "notes": self.notes.state_dict() if self.notes else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, for any number of ranks."""
        self.engine.load_state_dict(state["engine"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.labeller.load_state_dict(state["labeller"])
        self.gauge.load_state_dict(state["gauge"])
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

    def _unlabelled_weight(self) -> float:
        """u * w(t), t counted from the end of burn-in."""
        train = self.config.train
        total = train.steps - train.burn_in_steps
        up, down = round(train.loss.ramp_up * total), round(train.loss.ramp_down * total)
        return train.loss.unlabelled * ramp(self.step_number - train.burn_in_steps, up, down, total)

    def _target(self, delivered: Delivered | None, plan: Plan | None) -> Target | None:
        """Points and weights; every rank calls this alike, since what is usual is counted over all of them."""
        if plan is None or plan.rows_per_rank == 0 or delivered is None:
            return None
        evidence = delivered.pseudo.evidence
        moments = self.labeller.moments(evidence)
        self.labeller.observe(sum_tensors({"moments": moments})["moments"])
        return self.labeller(evidence)

    def _measure(
        self,
        terms: Terms,
        loss: Tensor,
        norm: Tensor | None,
        seen: Predictions | None,
        target: Target | None,
        delivered: Delivered | None,
    ) -> None:
        """Watch what has to be watched at every step; the rest, for which a GPU would wait, only where it is due."""
        if self.numbers_due:
            found = {f"loss/{name}": float(term.mean().detach()) for name, term in terms.items()}
            found |= {"loss/total": float(loss.detach()) / self.world, "train/lr": self.engine.lr}
            if norm is not None:
                found["train/grad_norm"] = float(norm)
            self.metrics = found
        if not (seen and target and delivered):
            return
        if self.numbers_due:
            self.metrics |= _look_at(seen, target, delivered)
        if self.notes:
            frames = delivered.pseudo.frames.clip_frames
            self.notes.take(
                delivered.rows, disagreement(seen.points_NK2, target, self.scale.sigma_px, frames)
            )
        # Of all ranks, so that they agree on whether to go on, and on what a checkpoint remembers.
        peak = sum_tensors({"peak": seen.peak_NK.mean().double()})["peak"]
        self.gauge.observe(float(peak) / self.world)
        if self.gauge.reference is None:
            self.gauge.end_burn_in()  # the first unlabelled frames it sees: what it must not fall far below


def _look_at(seen: Predictions, target: Target, delivered: Delivered) -> dict[str, float]:
    """One step's pseudo-labels in numbers."""
    weight_NK = target.weight_NK.detach().cpu().numpy()
    look = measure(seen.peak_NK.cpu().numpy(), seen.points_NK2.cpu().numpy(), weight_NK)
    found = {f"unlabelled/{name}": value for name, value in look.items()}
    found |= {f"weight/{name}": float(value.mean()) for name, value in target.notes.items()}
    return found | {
        "weight/point": float(weight_NK.mean()),
        "staleness/steps": float(delivered.lag_steps_N.mean()),
        "staleness/rho": float(delivered.pseudo.evidence.lag_rho_N.mean()),
        "labels/use": float(delivered.use_N.mean()),
    }
