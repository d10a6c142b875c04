"""What a student does beside learning: publish, checkpoint, validate, write down. Each now and then, by its step.

All of these are collective, and their times are pure functions of the step, so that no rank has to be told.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tsal_dist.checkpoint.rng import capture_rng, resume_rng, seed_rng
from tsal_dist.checkpoint.store import Checkpoints, Loaded
from tsal_dist.dist.collectives import reduce_scalars
from tsal_dist.engine.inference import Inference
from tsal_dist.errors import TrainingError
from tsal_dist.inference.evaluation import Evaluator, sum_over_ranks
from tsal_dist.inference.kept_frames import KeptFrames
from tsal_dist.metrics.headroom import headroom
from tsal_dist.observe.display import Display
from tsal_dist.observe.memory import read_memory
from tsal_dist.observe.sinks import Sink
from tsal_dist.pseudo.collect import try_to_collect
from tsal_dist.roles.student import Student
from tsal_dist.weights.format import EXTRA
from tsal_dist.weights.publish import WeightPublisher

log = logging.getLogger(__name__)


@dataclass
class StudentUpkeep:
    """One student rank's; `publisher` and `sink` are rank 0's alone."""

    student: Student
    judged: Inference
    """A plain detector to measure the student's weights with, whatever its engine does to the original."""
    checkpoints: Checkpoints
    publisher: WeightPublisher | None
    sink: Sink | None
    validation: Evaluator | None
    """All held-out frames."""
    gate_frames: KeptFrames
    """The few frames on which teacher and student are compared."""
    learnt_frames: KeptFrames | None = None
    """As few of the labels that it learns; None where none others are held out."""
    by_headroom: bool = False
    """Whether pseudo-labels count by what it makes of both."""
    newest_step: int | None = None
    """It goes on from this step at most, and from -1 at the beginning; None where any will do."""
    wait_for_disk: bool = False
    """Whether a published version must be on disk before the next step: in inline, the teacher reads it at once."""
    display: Display | None = None
    """What a person watches; rank 0's alone."""
    begin: Callable[[Student], bool] = lambda student: False
    """Called before the first step of a run; whether it has given the student something that may not be there again."""
    sign_of_life: Callable[[str], None] = lambda phase: None
    """Called now and then during what takes long: the other role must not take it for death."""
    require_sound_shards: Callable[[], None] = lambda: None
    """Raises DataError where this process has found shards that are not what their manifests say."""
    _saved_step: int = 0

    def before_step(self) -> None:
        """Publish, where it is time: version 0 first, so that a broken channel fails at the start."""
        student = self.student
        step, train = student.step_number, student.config.train
        if 0 < step == train.burn_in_steps and student.feed:  # who begins without it has no youth to forget
            student.end_burn_in()
        if step % student.config.runtime.weights.publish_every == 0:
            nme = self._compare()
            if student.config.has_teacher:
                if student.notes:
                    student.notes.send(step)
                self.publish(nme)

    def after_step(self) -> None:
        """Write down, validate and checkpoint, where it is time."""
        step, config = self.student.step_number, self.student.config
        if self.student.numbers_due:
            self.write_down()
        validated = None
        if self.validation and config.evaluates_after(step):
            validated = self.validate(self.validation)
        if config.saves_after(step):
            self.checkpoint(validated)
        if self.display:
            self.display.update(step)

    def _compare(self) -> float | None:
        """What the gate goes by, if there is one: this step's error on held-out frames. With it comes what pseudo-labels count,
        in a replay too, which has no teacher. Collective."""
        student = self.student
        gated = student.config.train.gate.enabled and student.config.has_teacher
        if student.step_number < student.config.train.burn_in_steps or not (gated or self.by_headroom):
            return None
        self.judged.load(student.own_weights())
        nme = self._nme_on(self.gate_frames)
        if self.by_headroom and self.learnt_frames:
            student.headroom = headroom(self._nme_on(self.learnt_frames), nme)
        return nme if gated else None

    def publish(self, nme: float | None) -> None:
        """Offer this step's weights to the teacher, with their error. Collective."""
        student = self.student
        weights = student.weights_to_publish()
        if self.publisher:
            extra = {f"{EXTRA}{name}": value for name, value in student.extra_to_publish().items()}
            self.publisher.offer(student.step_number, weights | extra, nme)
            if self.wait_for_disk:
                self.publisher.flush(student.config.runtime.deadlines.silent_s)

    def _nme_on(self, frames: KeptFrames) -> float:
        """The error of the net that was loaded last. Collective."""
        return sum_over_ranks(frames.run(self.judged, between=self._show_life)).errors.nme

    def validate(self, evaluator: Evaluator) -> float:
        """Measure the student on held-out frames; its NME. Collective."""
        student, step = self.student, self.student.step_number
        self.judged.load(student.trained_weights())
        mine = evaluator.run(self.judged, student.rank, student.world, between=self._show_life)
        found = sum_over_ranks(mine)
        numbers = {
            f"validation/{name}": value for name, value in found.summary().items() if isinstance(value, float)
        }
        log.info("step %d: validation NME %.4f", step, found.errors.nme)
        if self.learnt_frames:
            numbers["validation/learnt_nme"] = self._nme_on(self.learnt_frames)
        if self.sink:
            self.sink.write(step, numbers)
        return found.errors.nme

    def checkpoint(self, nme: float | None = None) -> None:
        """Save everything; on return it is durable. Collective."""
        self.require_sound_shards()
        student = self.student
        step = student.step_number
        state = student.state_dict()
        # Also where the step was not written down, because a stop came between two lines of metrics.
        self._require_finite(
            _not_finite(state["engine"]["weights"]), "weights that the last steps have moved"
        )
        self.checkpoints.save(step, state, {"rng": capture_rng()})
        self._saved_step = step
        if student.rank == 0:
            if nme is not None:
                self.checkpoints.record_score(step, nme)
            if student.planner:
                # What a kept checkpoint needs may not be collected: its planner's floor is its promise.
                student.planner.commit(self.checkpoints.peek_all("planner"))
                queue = student.config.runtime.queue
                if queue.collect and student.config.has_teacher:
                    try_to_collect(student.planner.topic.store, keep_bytes=int(queue.keep_gb * 1e9))

    def resume(self) -> int | None:
        """Take up the newest whole checkpoint; its step, or None where there is none. Collective."""
        loaded = self.checkpoints.load_latest(self.newest_step)
        student = self.student
        if self.publisher:
            self.publisher.forget_after(loaded.step if loaded else 0)
        if loaded:
            self._take_up(loaded)
        else:
            self._begin()
        student.pace.collect()  # what it took to get here is not training
        return loaded.step if loaded else None

    def _begin(self) -> None:
        student = self.student
        seed_rng(student.config.train.seed, 0, student.rank)
        if self.begin(student):
            # Whoever goes on wants to know what was gained. It is no score: the best checkpoint is one that was trained here.
            if self.validation:
                self.validate(self.validation)
            self.checkpoint()

    def _take_up(self, loaded: Loaded) -> None:
        student, step = self.student, loaded.step
        student.load_state_dict(loaded.state)
        resume_rng(loaded.rank_state, student.config.train.seed, step, student.rank)
        self._saved_step = step
        log.info("resumed from step %d", step)

    def write_down(self) -> None:
        """One line of metrics, over all ranks. Collective."""
        student = self.student
        numbers = reduce_scalars(student.metrics)
        numbers |= {f"speed/{name}": value for name, value in student.pace.collect().items()}
        numbers["speed/frames_per_s"] = student.world * numbers.get("speed/frames_per_s", 0.0)
        numbers |= read_memory()
        numbers["checkpoint/age_steps"] = student.step_number - self._saved_step
        if student.planner:
            numbers |= student.planner.numbers(student.step_number)
        if self.by_headroom:
            numbers["unlabelled/headroom"] = student.headroom
        if student.usage:
            numbers |= student.usage.numbers()
        if self.publisher:
            numbers["weights/published"] = self.publisher.published
            numbers["weights/superseded"] = self.publisher.superseded
        if self.sink:
            self.sink.write(student.step_number, numbers)
        losses = [name for name in numbers if name.startswith("loss/")]
        self._require_finite([name for name in losses if not math.isfinite(numbers[name])], "losses")

    def _require_finite(self, broken: Sequence[str], kind: str) -> None:
        """No checkpoint may hold what a broken loss has moved. Every rank judges the same numbers."""
        if broken:
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            raise TrainingError(
                f"Among the {kind}, {', '.join(broken[:3])}{more} is not a finite number at step "
                f"{self.student.step_number}. The last checkpoint is of step {self._saved_step}. Lower train.optim.lr, "
                "or look at the frames that it was taught with."
            )

    def _show_life(self) -> None:
        self.sign_of_life("evaluate")

    def close(self) -> None:
        try:
            if self.publisher:
                self.publisher.close(self.student.config.runtime.deadlines.silent_s)
        finally:
            if self.sink:
                self.sink.close()


def _not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in weights.items() if not bool(value.isfinite().all())]
