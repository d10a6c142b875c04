"""What a step computes on: frames, frames with what was said of them, and a teacher's answers.

Axes: B clips, T frames, N = B T frames, S sources, K points.
"""

from dataclasses import dataclass

from torch import Tensor

from tsal_dist.recipes.target import Evidence


@dataclass(frozen=True)
class Frames:
    """N frames on the device that computes."""

    image_NHWC: Tensor
    """RGB bytes; normalised where they are used."""
    points_NK2: Tensor
    """Crop pixels; zeros where not visible."""
    visible_NK: Tensor
    labelled_N: Tensor
    """Whether a frame counts as labelled: a pad does not."""
    face_px_B: Tensor
    """Size of the face in crop pixels, per clip."""
    clip_frames: int
    """T: consecutive so many frames are one clip."""

    def __len__(self) -> int:
        return len(self.image_NHWC)


@dataclass(frozen=True)
class PseudoFrames:
    """Pseudo-labelled frames in the student's view."""

    frames: Frames
    evidence: Evidence


@dataclass(frozen=True)
class Answers:
    """What a teacher's sources say of N frames, in pixels of its own crop."""

    points_NSK2: Tensor
    score_NSK: Tensor
    valid_NSK: Tensor
    fb_error_NK: Tensor
