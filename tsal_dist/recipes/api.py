"""The parts of a method, in the order of the data. A method is a `Recipe`: a few of these parts, the rest left as it is.

    versions -> PANEL -> SOURCES -> queue -> LABEL -> MIX -> TERMS -> step -> AFTER -> versions
                 (the teacher's process)      (the student's process)

Parts are plain objects. One that remembers something has `state_dict` and `load_state_dict`; what they hold is saved with
its role, and is the same on every rank. Chance comes in as an argument. Axes: N frames, S sources, K points.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tsal_dist.config.train import TrainConfig
from tsal_dist.errors import CheckpointError, ConfigError
from tsal_dist.losses.ramp import ramp
from tsal_dist.losses.term import Term
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.study import Study
from tsal_dist.recipes.target import Evidence, Target, Targets

Weights = Mapping[str, Tensor]
Terms = dict[str, Term]
BuildNet = Callable[[], nn.Module]
"""Gives the run's detector; each call draws other first weights, the same ones in every process."""


@dataclass(frozen=True)
class Task:
    """What a method may know of the run that it is part of."""

    points: int
    crop_px: int
    stride: int
    """Pixels per heatmap cell."""
    radius: int
    """Of the window around a peak, in cells."""
    sigma_px: float
    clip_frames: int
    max_fb_error_px: float = 1.5
    """Where two flows of a track fail to undo each other by more, the track has nothing to say."""
    load_net: Callable[[str], nn.Module] | None = None
    """Gives the trained detector of another run, or of a file of weights that says what it belongs to."""
    average: float = 0.99
    """Decay per step of the student's average."""
    teaches_absent: bool = False
    """Whether a labelled frame teaches an empty map for a point that it does not show."""
    absent: tuple[float, ...] = ()
    """For each point the share of the labelled frames that do not show it; () where that is not known."""
    mirror_K: tuple[int, ...] = ()
    """Who changes places in a mirror image; () where nobody knows."""


@dataclass(frozen=True)
class Progress:
    """Where the student stands, in its own steps, and how much unlabelled frames count there."""

    step: int
    burn_in_steps: int
    steps: int
    unlabelled: float = 1.0
    """The final weight of what is learnt from unlabelled frames."""
    ramp_up: float = 0.0
    ramp_down: float = 0.0
    """Shares of the run after burn-in."""

    @staticmethod
    def at(step: int, train: TrainConfig) -> "Progress":
        """By what a run's config says."""
        loss = train.loss
        return Progress(step, train.burn_in_steps, train.steps, loss.unlabelled, loss.ramp_up, loss.ramp_down)

    @property
    def ramp(self) -> float:
        """From 0 at the end of burn-in to 1, and down again at the end."""
        total = self.steps - self.burn_in_steps
        up, down = round(self.ramp_up * total), round(self.ramp_down * total)
        return ramp(self.step - self.burn_in_steps, up, down, total)

    @property
    def weight(self) -> float:
        """What unlabelled frames count at this step."""
        return self.unlabelled * self.ramp


# --- the teacher's process

Reading = Literal["heatmap", "companions", "center", "track", "candidates", "patch", "feature"]


@dataclass(frozen=True)
class Source:
    """A question to one net of the panel: where is each point? Every source answers with points, scores, validity."""

    name: str
    """Its columns in the queue begin with it."""
    reading: Reading = "heatmap"
    """How the answer is read off. `heatmap`: the peaks. `companions`: the peaks that fit each other as the labels' points
    do, valid where they do. `center`: the subject's centre and the offsets to its points.
    `track`: the neighbour frames' peaks, carried here by optical flow. And peaks with something more for each point:
    `candidates`, where it is for the `size` best centres; `patch`, the map around the peak, `size` cells wide and high,
    in eight bits; `feature`, the net's embedding there, `size` numbers of two bytes."""
    member: str = "teacher"
    views: int = 1
    """Views of a frame whose maps are averaged: plain, mirrored, then smaller, larger and turned. `center` is read off one."""
    size: int = 0
    """Of what a reading adds to the points."""
    states_error: bool = False
    """Whether each point comes with the error in pixels that its score stands for, learnt on frames with a truth."""

    def bytes_per_point(self) -> int:
        """What it adds to a row for each point, before compression; validity is a bit."""
        more = {"candidates": 8 * self.size, "patch": self.size**2, "feature": 2 * self.size}
        return 12 + more.get(self.reading, 0) + 4 * self.states_error


class Follow(Protocol):
    """What a net of the panel does with the weights that a student publishes."""

    every_version: bool
    """True: each published version once, in order. False: the newest is enough."""

    def follow(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        """Take a version from before the end of burn-in, or the first one there is."""

    def absorb(self, model: nn.Module, weights: Weights, extra: Weights) -> None:
        """Take a later version. `extra` holds the tensors that ride with it."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Member:
    """One net of the panel."""

    follow: Follow
    part: str = ""
    """Which part of what is published it takes: what its names begin with, such as the second net of a twin."""
    build: BuildNet | None = None
    """Another net than the run's detector, such as a larger one from a file."""


class OwnLessons(Protocol):
    """The teacher's own gradient steps: terms beside those of its labels."""

    @property
    def steps(self) -> int:
        """How many for each version that it absorbs."""

    @property
    def lr_share(self) -> float:
        """Its learning rate as a share of the student's."""

    def __call__(self, study: Study) -> tuple[DetectorOutput, Terms]:
        """The outputs for the labelled frames, which the usual terms are taken of, and the further terms."""

    def weights(self, progress: Progress) -> Mapping[str, float]:
        """What each further term is multiplied by."""


# --- the student's process


class StudentNet(Protocol):
    """What the student trains: the detector as it is, or something made of detectors."""

    detector: str
    """What the names of the weights of its detector begin with: what is evaluated, exported, and compared at the gate."""

    def build(self, make: BuildNet) -> nn.Module: ...

    def outputs(self, given: Any) -> "Sequence[NetOutput]":
        """What the module's forward pass gave, net by net."""


class NetOutput(NamedTuple):
    """One net's output, and what else the student's module gives for it."""

    maps: DetectorOutput
    more: Mapping[str, Tensor] = {}


class Labeller(Protocol):
    """What a student makes of the sources it was sent."""

    def moments(self, evidence: Evidence) -> Tensor:
        """Sums of this rank's evidence that `observe` needs of all ranks; any shape that can be added."""

    def observe(self, moments: Tensor) -> None:
        """Learn what is usual, from the sums over all ranks."""

    def __call__(self, evidence: Evidence) -> Target | Targets:
        """One target, or several by name."""

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


class Lesson(NamedTuple):
    """Frames as the student sees them, and the targets in the same view."""

    frames: Frames
    targets: Targets


class Mix(Protocol):
    """What the student sees of its pseudo-labelled frames: one harder view, or several."""

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]: ...


@dataclass(frozen=True)
class Seen:
    """What a term looks at: one lesson, and what each net of the student says of it."""

    nets: Sequence[NetOutput]
    lesson: Lesson
    task: Task

    def target(self, name: str) -> Target:
        """The lesson's target of that name."""
        if name not in self.lesson.targets:
            raise ConfigError(
                f"A term learns from the target {name!r}, and the method's labeller gives {', '.join(self.lesson.targets)}. "
                f"Name one of these in the term, or have the labeller give it."
            )
        return self.lesson.targets[name]


class LossTerm(Protocol):
    """Something to be minimised over pseudo-labelled frames."""

    @property
    def name(self) -> str: ...

    def weight(self, progress: Progress) -> float:
        """What it is multiplied by."""

    def __call__(self, seen: Seen) -> Term: ...


class Note(Protocol):
    """How much the student wants a clip labelled again."""

    def __call__(self, points_NK2: Tensor, target: Target, task: Task) -> NDArray[np.float32]:
        """One number for each clip; nan says nothing of it."""


Choose = Callable[[Mapping[int, float]], Mapping[int, float]]
"""From what is noted of clips to how soon each is labelled again, on the teacher's side."""


class After(Protocol):
    """What happens to the student after each of its steps."""

    def __call__(self, net: nn.Module, step: int) -> None: ...


@runtime_checkable
class Remembers(Protocol):
    """A part with a memory."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


# --- the defaults


class OneNet:
    """The detector as it is."""

    detector = ""

    def build(self, make: BuildNet) -> nn.Module:
        return make()

    def outputs(self, given: Any) -> Sequence[NetOutput]:
        return (NetOutput(given),)


def as_it_is(lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
    """The view that the readers made, alone."""
    return (lesson,)


def disagreement(points_NK2: Tensor, target: Target, task: Task) -> NDArray[np.float32]:
    """Per clip the weighted mean distance of points from a target that says where they are, in sigmas; nan without one."""
    weight_NK = target.place_weight_NK
    per_clip = task.clip_frames * points_NK2.shape[1]
    gap_NK = (points_NK2.detach() - target.place_NK2).norm(dim=-1) / task.sigma_px
    total_B = (gap_NK * weight_NK).reshape(-1, per_clip).sum(1)
    found: NDArray[np.float32] = (total_B / weight_NK.reshape(-1, per_clip).sum(1)).cpu().numpy()
    return found.astype(np.float32)


def highest_first(noted: Mapping[int, float]) -> Mapping[int, float]:
    """As they were noted."""
    return noted


def unchanged(net: nn.Module) -> AbstractContextManager[None]:
    """Forward and backward run on the weights as they are."""
    return nullcontext()


def nothing_after(net: nn.Module, step: int) -> None:
    """A step is a step."""


def no_extra() -> Weights:
    """Versions carry weights alone."""
    return {}


@dataclass(frozen=True)
class Recipe:
    """One method, as the roles see it. Made anew for each role's process: what a part remembers is that process's own."""

    label: Labeller
    sources: tuple[Source, ...]
    terms: tuple[LossTerm, ...]
    panel: Mapping[str, Member]
    """By name; the first one is trained where the teacher learns, checkpointed as the teacher, and held at the gate."""
    publishes: Literal["student", "average"] = "average"
    """Which weights go to the teacher: the student's own, or the average kept beside it at every step."""
    student: StudentNet = field(default_factory=OneNet)
    learn: OwnLessons | None = None
    mix: Mix = as_it_is
    around: Callable[[nn.Module], AbstractContextManager[None]] = unchanged
    """Holds while forward and backward run, and is left before the step: weights may be rounded inside."""
    after: After = nothing_after
    note: Note = disagreement
    choose: Choose = highest_first
    extra: Callable[[], Weights] = no_extra
    """Tensors of the student that ride with each version."""

    def bytes_per_label(self, points: int) -> int:
        """What the sources take in a row of the queue, before compression."""
        return points * sum(source.bytes_per_point() for source in self.sources)

    @property
    def every_version(self) -> bool:
        """Whether some net of the panel wants each version, once and in order."""
        return any(member.follow.every_version for member in self.panel.values())

    def student_state(self) -> dict[str, Any]:
        """What the parts in the student's process remember."""
        return _remembered(self._parts(of_teacher=False))

    def load_student_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `student_state`."""
        _remember(self._parts(of_teacher=False), state)

    def teacher_state(self) -> dict[str, Any]:
        """What the parts in the teacher's process remember, beside its nets."""
        return _remembered(self._parts(of_teacher=True))

    def load_teacher_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `teacher_state`."""
        _remember(self._parts(of_teacher=True), state)

    def _parts(self, of_teacher: bool) -> dict[str, object]:
        slots = {slot.name: getattr(self, slot.name) for slot in fields(self) if slot.name != "panel"}
        mine = {name: part for name, part in slots.items() if (name in _TEACHERS) == of_teacher}
        return mine if of_teacher else mine | {f"terms.{term.name}": term for term in self.terms}


_TEACHERS = ("learn", "choose")


def _remembering(parts: Mapping[str, object]) -> dict[str, Remembers]:
    return {name: part for name, part in parts.items() if isinstance(part, Remembers)}


def _remembered(parts: Mapping[str, object]) -> dict[str, Any]:
    return {name: dict(part.state_dict()) for name, part in _remembering(parts).items()}


def _remember(parts: Mapping[str, object], state: Mapping[str, Any]) -> None:
    mine = _remembering(parts)
    if mine.keys() != state.keys():
        raise CheckpointError(
            f"The checkpoint remembers {sorted(state)} of its method, and this method's parts are {sorted(mine)}. It is "
            f"of another method, or of another version of it: start again (--clean), or use the code it was made with."
        )
    for name, part in mine.items():
        part.load_state_dict(state[name])
