"""Measure a detector on the labelled frames of held-out shards: every frame once, spread over the ranks of a role.

Errors are taken in pixels of the source frame, where annotations live. Jitter is taken over runs of frames that are
neighbours in their video as it was packed, within a batch, and batches are cut at the same places for any number of ranks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.config import RunConfig
from tsal_dist.data.clips import build_clips
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import WHEN_ASKED, read_all, read_chosen
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.dist.collectives import reduce_scalars, sum_tensors
from tsal_dist.geometry import affine
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.finding import find_points
from tsal_dist.metrics.face_errors import FaceErrors, leans
from tsal_dist.metrics.jitter import Jitter
from tsal_dist.metrics.normalizer import Normalizer, lengths
from tsal_dist.models.detectors import find_stride
from tsal_dist.models.input import normalize
from tsal_dist.models.output import Forward
from tsal_dist.records import Clip, FrameRef

KEPT_WORST = 16
MOST_APART = 3
"""Frames of a video that are further apart are no neighbours: what their points do is the subject's motion, and no jitter."""


@dataclass(frozen=True)
class ScoredFrame:
    """One frame with its error, kept to be looked at."""

    nme: float
    image_HWC: NDArray[np.uint8]
    """The crop that the detector saw."""
    predicted_K2: NDArray[np.float64]
    """Crop pixels, as are the true points."""
    truth_K2: NDArray[np.float64]
    visible_K: NDArray[np.bool_]
    box_4: NDArray[np.float64]
    """The subject's box, in crop pixels."""
    video: str
    name: str
    """For people."""
    ref: FrameRef
    """Where to read it again, in another view."""


@dataclass(frozen=True)
class FrameScore:
    """The error of one frame of a video."""

    video: str
    frame: int
    nme: float
    lean: tuple[float, float]
    """How far its points lie to the right of the truth and below it on average, as a share as the error is."""


@dataclass
class Evaluation:
    """What one detector did on one set. Sums merge over ranks; `worst`, `best` and `scores` are this rank's own."""

    errors: FaceErrors
    jitter: Jitter
    by_group: dict[str, FaceErrors] = field(default_factory=dict)
    """Errors of the frames that carry an attribute, by its name: WFLW's attributes, 300VW's categories."""
    worst: list[ScoredFrame] = field(default_factory=list)
    best: list[ScoredFrame] = field(default_factory=list)
    scores: list[FrameScore] = field(default_factory=list)
    """Every frame of this rank that has an error."""

    def summary(self) -> dict[str, float | str]:
        """One row of a table."""
        return self.errors.summary() | {"jitter": self.jitter.mean}

    def vectors(self) -> dict[str, NDArray[np.float64]]:
        """All sums, which ranks add up; groups may differ between ranks."""
        named = {"errors": self.errors.vector, "jitter": np.array([self.jitter.total, self.jitter.count])}
        return named | {f"group/{name}": errors.vector for name, errors in self.by_group.items()}

    def with_vectors(self, vectors: dict[str, NDArray[np.float64]]) -> "Evaluation":
        """The same evaluation with the sums of all ranks."""
        groups = {
            name.removeprefix("group/"): self.errors.with_vector(vector)
            for name, vector in sorted(vectors.items())
            if name.startswith("group/")
        }
        total, count = (float(value) for value in vectors["jitter"])
        return Evaluation(
            self.errors.with_vector(vectors["errors"]),
            Jitter(total, count),
            groups,
            self.worst,
            self.best,
            self.scores,
        )


@dataclass(frozen=True)
class Evaluator:
    """How to measure; the same for both roles, in training and after it."""

    shards: ShardSet
    crop_px: int
    expand: float
    stride: int
    """Pixels per heatmap cell."""
    radius: int
    normalizer: Normalizer
    device: torch.device
    batch: int = 32
    read_ahead: ReadAhead = WHEN_ASKED
    most_frames: int = 0
    """Frames to look at, evenly spread over the set; 0 takes all."""
    decoding: Decoding = PLAIN

    def run(
        self,
        forward: Forward,
        rank: int = 0,
        world: int = 1,
        keep: int = 0,
        between: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Measure this rank's share; add `vectors` over the ranks for the whole. `between` is called after each batch."""
        found = self.nothing_yet()
        for clips in self.batches(rank, world):
            points_NK2, _ = self.find(forward, to_device(clips, self.device))
            self.judge(found, clips, points_NK2, keep)
            between()
        return found

    @torch.no_grad()
    def find(self, forward: Forward, image_NHWC: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Landmarks_NK2 of crops, in their pixels, and their scores_NK."""
        points_NK2, score_NK, _ = find_points(
            forward, normalize(image_NHWC), self.stride, self.radius, self.decoding
        )
        return points_NK2.double().cpu().numpy(), score_NK.double().cpu().numpy()

    def nothing_yet(self) -> Evaluation:
        """An evaluation of no frame, for `judge` to add to."""
        return Evaluation(FaceErrors(self.shards.points, self.normalizer), Jitter())

    def batches(self, rank: int, world: int) -> Iterator[list[Clip]]:
        """This rank's frames, decoded; where they are few the ranks take turns."""
        view = ViewSettings(self.crop_px, self.expand)
        if not self.most_frames:
            return read_all(self.shards, view, "labelled", self.batch, rank, world, self.read_ahead)
        clips = build_clips(self.shards, "labelled")
        mine = evenly(len(clips), self.most_frames)[rank::world]
        return read_chosen(self.shards, view, clips, mine, self.batch, self.read_ahead)

    def judge(
        self, found: Evaluation, clips: list[Clip], predicted_NK2: NDArray[np.float64], keep: int = 0
    ) -> None:
        """Add what was predicted for some frames to `found`; keep so many of the worst and the best to be looked at."""
        truth_NK2 = np.stack([clip.points_TK2[0] for clip in clips]).astype(np.float64)
        visible_NK = np.stack([clip.visible_TK[0] for clip in clips])
        home = [affine.invert(clip.to_crop_23) for clip in clips]
        source_NK2 = _through(home, predicted_NK2)
        source_truth_NK2 = _through(home, truth_NK2)
        box_N4 = np.stack([clip.box_4 for clip in clips]).astype(np.float64)
        nme_N = found.errors.add(source_NK2, source_truth_NK2, visible_NK, box_N4)
        length_N = lengths(self.normalizer, source_truth_NK2, visible_NK, box_N4)
        for run in _neighbours(clips):
            found.jitter.add(source_NK2[run], length_N[run])
        for name, members in _groups(clips).items():
            group = found.by_group.setdefault(name, FaceErrors(self.shards.points, self.normalizer))
            group.add(source_NK2[members], source_truth_NK2[members], visible_NK[members], box_N4[members])
        scored_S = np.flatnonzero(np.isfinite(nme_N))
        off_SK2 = (source_NK2 - source_truth_NK2)[scored_S] / length_N[scored_S, None, None]
        found.scores += [
            FrameScore(clips[place].video, int(clips[place].frames_T[0]), float(nme_N[place]), (x, y))
            for place, (x, y) in zip(scored_S, leans(off_SK2, visible_NK[scored_S]).tolist(), strict=True)
        ]
        if keep:
            judged = [
                ScoredFrame(
                    float(nme),
                    clip.image_THWC[0],
                    predicted_NK2[place],
                    truth_NK2[place],
                    visible_NK[place],
                    affine.apply(clip.to_crop_23, clip.box_4.reshape(2, 2)).ravel(),
                    clip.video,
                    self.shards.frame_name(clip.ref, clip.video, int(clip.frames_T[0])),
                    clip.ref,
                )
                for place, (clip, nme) in enumerate(zip(clips, nme_N, strict=True))
                if np.isfinite(nme)
            ]
            found.worst = sorted([*found.worst, *judged], key=lambda one: -one.nme)[:keep]
            found.best = sorted([*found.best, *judged], key=lambda one: one.nme)[:keep]


def build_evaluator(
    config: RunConfig, shards: ShardSet, device: torch.device, most_frames: int = 0
) -> Evaluator:
    """Measures a detector of this config on `shards`."""
    return Evaluator(
        shards=shards,
        crop_px=config.model.crop_px,
        expand=config.data.box_expand,
        stride=find_stride(config.model.detector, config.model.num_points),
        radius=config.model.decode_radius,
        normalizer=config.data.normalizer,
        device=device,
        most_frames=most_frames,
    )


def sum_over_ranks(found: Evaluation) -> Evaluation:
    """The whole set's evaluation from each rank's share. Collective. A rank without some group adds nothing to it."""
    mine = found.vectors()
    sizes = reduce_scalars({name: float(len(vector)) for name, vector in mine.items()}, "max")
    padded = {
        name: torch.from_numpy(mine[name]) if name in mine else torch.zeros(int(size), dtype=torch.float64)
        for name, size in sorted(sizes.items())
    }
    return found.with_vectors({name: value.numpy() for name, value in sum_tensors(padded).items()})


def evenly(samples: int, most: int) -> list[int]:
    """So many of the numbers below `samples`, evenly spread; all of them where there are no more."""
    most = min(most, samples)
    return [number * samples // most for number in range(most)]


def to_device(clips: list[Clip], device: torch.device) -> Tensor:
    """The clips' frames, one after the other."""
    return torch.from_numpy(np.concatenate([clip.image_THWC for clip in clips])).to(device)


def _through(matrices: list[affine.Matrix], points_NK2: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(
        [affine.apply(matrix, points) for matrix, points in zip(matrices, points_NK2, strict=True)]
    )


def _neighbours(clips: list[Clip]) -> Iterator[slice]:
    """Runs of frames that follow each other in one video at one small distance, with none packed between them."""
    start = 0
    for place in range(1, len(clips) + 1):
        if place < len(clips):
            step = _step(clips[place - 1], clips[place])
            steady = place - start < 2 or step == _step(clips[place - 2], clips[place - 1])
            if step and steady:
                continue
        if place - start >= 3:
            yield slice(start, place)
        start = place


def _step(one: Clip, other: Clip) -> int:
    """By how many frames of their video the other one is later; 0 where the two are no neighbours."""
    side_by_side = one.ref.shard == other.ref.shard and other.ref.index - one.ref.index == 1
    step = int(other.frames_T[0] - one.frames_T[0])
    return step if one.video == other.video and side_by_side and 0 < step <= MOST_APART else 0


def _groups(clips: list[Clip]) -> dict[str, list[int]]:
    """Positions of the frames that carry each attribute."""
    members: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        for name in clip.attributes:
            members.setdefault(name, []).append(place)
    return members
