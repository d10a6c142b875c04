"""What several sources say of a frame's landmarks, and the one target with weights that comes of it.

Axes: N frames, S sources, K points. Coordinates are pixels of the crop the student is about to see.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """The sources of N pseudo-labelled frames, mapped into the student's view."""

    sources: tuple[str, ...]
    """Their names, in the order of axis S."""
    points_NSK2: Tensor
    score_NSK: Tensor
    """Heatmap: height of the peak. Center: score of the face. Track: score of the point that was carried."""
    valid_NSK: Tensor
    """False where a source has nothing to say, such as a track whose two flows do not undo each other."""
    fb_error_NK: Tensor
    """By how many pixels the track's two flows fail to undo each other, in the teacher's crop."""
    lag_rho_N: Tensor
    """How far, as a share, an averaging teacher has moved since the label was made."""

    def source(self, name: str) -> int:
        """Position of a source on axis S."""
        return self.sources.index(name)


@dataclass(frozen=True)
class Target:
    """Where the student should find the points, and how much each counts."""

    points_NK2: Tensor
    weight_NK: Tensor
    """In [0, 1]; 0 teaches nothing."""
    notes: Mapping[str, Tensor]
    """The factors of the weight, for the metrics: each N x K."""
