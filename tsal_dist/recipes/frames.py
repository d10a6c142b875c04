"""What a step computes on: frames, frames with what was said of them, and a teacher's answers.

Axes: B clips, T frames, N = B T frames, P pairs of neighbour frames, S sources, K points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
    again_N: NDArray[np.bool_] | None = None
    """On the host: frames that are the one before once more, as in a clip of a still picture, or of a video that ends
    early. None is none of them."""

    def __len__(self) -> int:
        return len(self.image_NHWC)

    def piece(self, place: int, pieces: int) -> "Frames":
        """One of `pieces` equal parts, of whole clips."""
        if pieces == 1:
            return self
        frames = slice(place * len(self) // pieces, (place + 1) * len(self) // pieces)
        clips = slice(frames.start // self.clip_frames, frames.stop // self.clip_frames)
        return replace(
            self,
            image_NHWC=self.image_NHWC[frames],
            points_NK2=self.points_NK2[frames],
            visible_NK=self.visible_NK[frames],
            labelled_N=self.labelled_N[frames],
            face_px_B=self.face_px_B[clips],
            again_N=None if self.again_N is None else self.again_N[frames],
        )


class Pairs(NamedTuple):
    """Neighbours within the clips of a flat batch: frame before_P and frame after_P."""

    before_P: Tensor
    after_P: Tensor


def neighbours(frames: Frames) -> Pairs:
    """Every pair of consecutive frames of one clip; none across clips, and none of a frame with itself: a point that did
    not move in a picture that did not change agrees with whatever was said of it."""
    device = frames.image_NHWC.device
    index_BT = torch.arange(len(frames), device=device).view(-1, frames.clip_frames)
    before_P, after_P = index_BT[:, :-1].flatten(), index_BT[:, 1:].flatten()
    if frames.again_N is None or not frames.again_N.any():
        return Pairs(before_P, after_P)
    moves_P = np.flatnonzero(~frames.again_N.reshape(-1, frames.clip_frames)[:, 1:])
    there_P = torch.from_numpy(moves_P).to(device, non_blocking=True)
    return Pairs(before_P[there_P], after_P[there_P])


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
    more: Mapping[str, Tensor]
    """What a source adds to its points, by its name: N x K x ..."""
    error_NSK: Tensor | None = None
    """The error in pixels that each score stands for; not a number where nothing is known of it."""

    @staticmethod
    def join(parts: "Sequence[Answers]") -> "Answers":
        """What was said of consecutive frames, as if they had been looked at together."""
        errors = [part.error_NSK for part in parts if part.error_NSK is not None]
        return Answers(
            points_NSK2=torch.cat([part.points_NSK2 for part in parts]),
            score_NSK=torch.cat([part.score_NSK for part in parts]),
            valid_NSK=torch.cat([part.valid_NSK for part in parts]),
            fb_error_NK=torch.cat([part.fb_error_NK for part in parts]),
            more={name: torch.cat([part.more[name] for part in parts]) for name in parts[0].more},
            error_NSK=torch.cat(errors) if errors else None,
        )
