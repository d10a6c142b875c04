"""What several sources say of a frame's landmarks, and the target with weights that comes of it.

Axes: N frames, S sources, K points, h w cells. Coordinates are pixels of the crop the student is about to see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from tsal_dist.errors import ConfigError


@dataclass(frozen=True)
class Evidence:
    """The sources of N pseudo-labelled frames, mapped into the student's view."""

    sources: tuple[str, ...]
    """Their names, in the order of axis S."""
    points_NSK2: Tensor
    score_NSK: Tensor
    """Heatmap: height of the peak. Center: score of the subject. Track: score of the point that was carried."""
    valid_NSK: Tensor
    """False where a source has nothing to say, such as a track whose two flows do not undo each other, or a frame that
    could not be read."""
    fb_error_NK: Tensor
    """By how many pixels the track's two flows fail to undo each other, in the teacher's crop."""
    fresh_N: Tensor
    """How much of an averaging teacher is still what it was when the label was made: 1 for a new label."""
    more: Mapping[str, Tensor] = field(default_factory=dict)
    """What a source adds to its points, by its name: N x K x ..."""
    cell_N22: Tensor | None = None
    """The student's pixels per cell of a patch, along its columns and rows."""
    error_NSK: Tensor | None = None
    """The error in pixels of the student's crop that each score stands for; not a number where that is not known."""

    @property
    def told_N1(self) -> Tensor:
        """The frames of which anything is known: a row that was lost, and one without a picture, are not fresh at all."""
        return (self.fresh_N > 0).unsqueeze(-1)

    def source(self, name: str) -> int:
        """Position of a source on axis S."""
        return self.sources.index(name)


@dataclass(frozen=True)
class Target:
    """Where the student should find the points, and how much each counts."""

    points_NK2: Tensor
    """Anything where a point counts nothing, or is absent; also what is not a number."""
    weight_NK: Tensor
    """In [0, 1]; 0 teaches nothing."""
    notes: Mapping[str, Tensor] = field(default_factory=dict)
    """The factors of the weight, for the metrics: each N x K."""
    heat_NKhw: Tensor | None = None
    """Soft maps, where the target is more than a point; None is a gaussian at the point."""
    truth_N: Tensor | None = None
    """Frames whose points are their truth: of these neither soft maps nor `more` count, for they are what a teacher sees where
    it believes the points to be. None is none of them."""
    absent_NK: Tensor | None = None
    """Points that are said not to be in the frame: an empty map is what is right for them."""
    more: Mapping[str, Tensor] = field(default_factory=dict)
    """What else a term of the method compares with, by name: N x K x ..."""

    @property
    def place_weight_NK(self) -> Tensor:
        """How much each point counts as a place: nothing where it is said to be absent."""
        return self.weight_NK if self.absent_NK is None else self.weight_NK * ~self.absent_NK

    @property
    def place_NK2(self) -> Tensor:
        """The points that count as places, and zeros for the others: not a number times 0 is not a number."""
        return torch.where(self.place_weight_NK.unsqueeze(-1) > 0, self.points_NK2.detach(), 0.0)

    @property
    def more_weight_NK(self) -> Tensor:
        """How much each of `more` counts: as its point's place does, and nothing where that is the truth."""
        weight_NK = self.place_weight_NK
        return weight_NK if self.truth_N is None else weight_NK * ~self.truth_N.unsqueeze(-1)

    def weighed(self, factor_NK: Tensor) -> "Target":
        """The same target, each point counting so much of what it counted."""
        return replace(self, weight_NK=self.weight_NK * factor_NK)

    def piece(self, place: int, pieces: int) -> "Target":
        """One of `pieces` equal parts of its frames."""
        if pieces == 1:
            return self
        count = len(self.weight_NK)
        part = slice(place * count // pieces, (place + 1) * count // pieces)
        return Target(
            self.points_NK2[part],
            self.weight_NK[part],
            {name: note[part] for name, note in self.notes.items()},
            None if self.heat_NKhw is None else self.heat_NKhw[part],
            None if self.truth_N is None else self.truth_N[part],
            None if self.absent_NK is None else self.absent_NK[part],
            {name: value[part] for name, value in self.more.items()},
        )


Targets: TypeAlias = Mapping[str, Target]
TEACHER = "teacher"
"""The name of a target that is the only one."""


def named(target: Target | Targets) -> Targets:
    """Several targets, or the only one under its usual name."""
    return {TEACHER: target} if isinstance(target, Target) else target


def check_targets(targets: Targets, frames: int, points: int) -> Targets:
    """The same targets, or ConfigError where a labeller gave something else, or a part of another shape."""
    if not isinstance(targets, Mapping) or not targets:
        raise ConfigError(
            f"The method's labeller gave a {type(targets).__name__}. It must give a Target, or several in a dict by name."
        )
    for name, target in targets.items():
        if not isinstance(target, Target):
            raise ConfigError(
                f"The method's labeller gave a {type(target).__name__} as its target {name!r}. It must be a Target."
            )
        for part, value, shape in _shapes(target, frames, points):
            found = (
                tuple(value.shape) if isinstance(value, Tensor) else f"no tensor but a {type(value).__name__}"
            )
            if found != shape:
                raise ConfigError(
                    f"The method's labeller gave {part} of the target {name!r} as {found}. For {frames} frames of {points} "
                    f"points it must be a tensor of shape {shape}."
                )
    return targets


def _shapes(target: Target, frames: int, points: int) -> list[tuple[str, Tensor, tuple[int, ...]]]:
    """The parts that a target has, and what shape each should be. Axes behind a point's own may be of any length."""
    each = (frames, points)
    parts: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
        ("points_NK2", target.points_NK2, (*each, 2)),
        ("weight_NK", target.weight_NK, each),
        ("truth_N", target.truth_N, (frames,)),
        ("absent_NK", target.absent_NK, each),
        *((f"notes[{key!r}]", note, each) for key, note in target.notes.items()),
    ]
    further = {f"more[{key!r}]": value for key, value in target.more.items()} | {
        "heat_NKhw": target.heat_NKhw
    }
    parts += [(key, value, (*each, *getattr(value, "shape", ())[2:])) for key, value in further.items()]
    return [(key, value, shape) for key, value, shape in parts if value is not None]


def truth_first(targets: Targets, points_NK2: Tensor, visible_NK: Tensor, labelled_N: Tensor) -> Targets:
    """The same targets, with the truth instead where a frame has one: nothing that a teacher says outvotes a label.

    Of a labelled frame the points that have no label teach nothing, and nor does what a teacher says beside points.
    """
    known_N1 = labelled_N.unsqueeze(-1)
    truth_NK = visible_NK.to(points_NK2.dtype)
    return {
        name: replace(
            target,
            points_NK2=torch.where(known_N1.unsqueeze(-1), points_NK2, target.points_NK2),
            weight_NK=torch.where(known_N1, truth_NK.to(target.weight_NK.dtype), target.weight_NK),
            absent_NK=None if target.absent_NK is None else target.absent_NK & ~known_N1,
            truth_N=labelled_N,
        )
        for name, target in targets.items()
    }
