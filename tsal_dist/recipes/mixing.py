"""Harder views of pseudo-labelled frames: what is asked of the student beside what the readers did to the picture.

A mix takes a lesson and gives one or several. Everything is drawn from the generator that comes in; the geometry once per
clip, so that its frames still move as the video does. Axes: B clips, N frames, K points.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.recipes.api import Lesson, Mix
from tsal_dist.recipes.beside import beside
from tsal_dist.recipes.target import Target, Targets


@dataclass(frozen=True)
class Covered:
    """Patches of a flat colour over some of the points, which are to be found by what is around them."""

    patches: int = 2
    size: float = 0.15
    """Side of a patch, as a share of the crop's."""

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        image_NHWC = lesson.frames.image_NHWC.clone()
        for frame, window in _windows(lesson, rng, self.patches, self.size):
            image_NHWC[frame][window] = int(rng.integers(0, 256))
        return (replace_image(lesson, image_NHWC),)


@dataclass(frozen=True)
class Pasted:
    """Patches of other frames of the batch over some of the points: something is there, and it is the wrong thing."""

    patches: int = 2
    size: float = 0.15

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        original_NHWC = lesson.frames.image_NHWC
        image_NHWC = original_NHWC.clone()
        for frame, window in _windows(lesson, rng, self.patches, self.size):
            other = int(rng.integers(len(image_NHWC)))
            image_NHWC[frame][window] = original_NHWC[other][window]
        return (replace_image(lesson, image_NHWC),)


@dataclass(frozen=True)
class BlendedPoints:
    """Patches around some points, blended with a patch around a point of another frame; every point under such a patch counts
    as much as is left of it."""

    points: int = 2
    size: float = 0.15
    least: float = 0.3
    most: float = 0.7

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        original_NHWC, size_px = lesson.frames.image_NHWC, lesson.frames.image_NHWC.shape[1]
        image_NHWC = original_NHWC.clone()
        where_NK2, counts_NK = _taught(lesson.targets)
        half = max(1, round(size_px * self.size / 2))
        corner_NK2 = np.clip(np.rint(where_NK2).astype(int) - half, 0, size_px - 2 * half)
        left_NK = np.ones(counts_NK.shape)
        spots = np.argwhere(counts_NK)
        for frame, counts_K in enumerate(counts_NK):
            for place, other, share in rng.random((self.points, 3)) if len(spots) else ():
                known = np.flatnonzero(counts_K)
                if len(known):
                    point = known[int(place * len(known))]
                    there, its = spots[int(other * len(spots))]
                    kept = 1 - (self.least + share * (self.most - self.least))
                    rows, columns = _square(corner_NK2[frame, point], half)
                    its_rows, its_columns = _square(corner_NK2[there, its], half)
                    mine = image_NHWC[frame, rows, columns].float()
                    theirs = original_NHWC[there, its_rows, its_columns].float()
                    image_NHWC[frame, rows, columns] = (kept * mine + (1 - kept) * theirs).round().byte()
                    # Of its neighbours too: in a face a patch lies over half an eye or half a mouth.
                    away_K2 = where_NK2[frame] - (corner_NK2[frame, point] + half - 0.5)
                    left_NK[frame, counts_K & (np.abs(away_K2) <= half).all(-1)] *= kept
        left = beside(torch.from_numpy(left_NK), lesson.frames.points_NK2)
        frames = replace(lesson.frames, image_NHWC=image_NHWC)
        return (Lesson(frames, {name: target.weighed(left) for name, target in lesson.targets.items()}),)


def _square(corner_2: NDArray[np.int_], half: int) -> tuple[slice, slice]:
    x, y = corner_2
    return slice(y, y + 2 * half), slice(x, x + 2 * half)


@dataclass(frozen=True)
class Turned:
    """Turned and scaled about the middle of the crop once more. A point that leaves it teaches nothing."""

    degrees: float = 30.0
    scale: float = 0.25

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        frames = lesson.frames
        clips, size_px = len(frames) // frames.clip_frames, frames.image_NHWC.shape[1]
        angle_B = np.radians(rng.uniform(-self.degrees, self.degrees, clips))
        zoom_B = rng.uniform(1 - self.scale, 1 + self.scale, clips)
        turn_B22 = np.stack(
            [
                zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
                for angle, zoom in zip(angle_B, zoom_B, strict=True)
            ]
        )
        turn_N22 = beside(torch.from_numpy(np.repeat(turn_B22, frames.clip_frames, 0)), frames.points_NK2)
        middle = (size_px - 1) / 2

        def move(points_NK2: Tensor) -> Tensor:
            return (points_NK2 - middle) @ turn_N22.transpose(1, 2) + middle

        turned = replace(
            frames,
            image_NHWC=_turned(frames.image_NHWC.permute(0, 3, 1, 2).float(), turn_N22, "border")
            .round()
            .clamp(0, 255)
            .byte()
            .permute(0, 2, 3, 1),
            points_NK2=move(frames.points_NK2),
            face_px_B=frames.face_px_B * beside(torch.from_numpy(zoom_B), frames.face_px_B),
        )
        return (
            Lesson(
                turned,
                {name: self._move(one, move, turn_N22, size_px) for name, one in lesson.targets.items()},
            ),
        )

    @staticmethod
    def _move(target: Target, move: Callable[[Tensor], Tensor], turn_N22: Tensor, size_px: int) -> Target:
        points_NK2 = move(target.points_NK2)
        inside_NK = ((points_NK2 >= -0.5) & (points_NK2 <= size_px - 0.5)).all(-1)
        heat = target.heat_NKhw
        absent_NK = torch.zeros_like(inside_NK) if target.absent_NK is None else target.absent_NK
        return replace(
            target,
            points_NK2=points_NK2,
            weight_NK=target.weight_NK * (inside_NK | absent_NK),
            heat_NKhw=None if heat is None else _turned(heat, turn_N22, "zeros"),
        )


@dataclass(frozen=True)
class InTurn:
    """One mix after the other: each works on every lesson that the one before gave."""

    steps: Sequence[Mix]

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        lessons: list[Lesson] = [lesson]
        for step in self.steps:
            lessons = [made for one in lessons for made in step(one, rng)]
        return lessons


@dataclass(frozen=True)
class Several:
    """Each of these of the same lesson: one easy prediction teaches several hard views."""

    ways: Sequence[Mix]

    def __call__(self, lesson: Lesson, rng: np.random.Generator) -> Sequence[Lesson]:
        return [made for way in self.ways for made in way(lesson, rng)]


def replace_image(lesson: Lesson, image_NHWC: Tensor) -> Lesson:
    """The same lesson with other pixels."""
    return Lesson(replace(lesson.frames, image_NHWC=image_NHWC), lesson.targets)


def _windows(
    lesson: Lesson, rng: np.random.Generator, patches: int, share: float
) -> list[tuple[int, tuple[slice, slice]]]:
    """Square windows around points that count, drawn frame by frame; the frames of a clip each have their own."""
    size_px = lesson.frames.image_NHWC.shape[1]
    half = max(1, round(size_px * share / 2))
    where_NK2, counts_NK = _taught(lesson.targets)
    found = []
    for frame, counts_K in enumerate(counts_NK):
        known = np.flatnonzero(counts_K)
        # Always as many draws: what one frame knows must not move what the next one draws.
        for place in rng.random(patches):
            if len(known):
                x, y = where_NK2[frame, known[int(place * len(known))]].round().astype(int)
                rows, columns = (slice(max(0, at - half), max(0, at + half)) for at in (y, x))
                found.append((frame, (rows, columns)))
    return found


def _taught(targets: Targets) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    first = next(iter(targets.values()))
    return first.place_NK2.double().cpu().numpy(), (first.place_weight_NK > 0).cpu().numpy()


def _turned(map_NCHW: Tensor, turn_N22: Tensor, outside: str) -> Tensor:
    """Turned about the middle, which stays where it is at any size."""
    back_N22 = torch.linalg.inv_ex(turn_N22).inverse  # which, unlike inv, asks no device whether there is one
    theta_N23 = torch.cat([back_N22, torch.zeros_like(back_N22[..., :1])], -1)
    grid = F.affine_grid(theta_N23, list(map_NCHW.shape), align_corners=False)
    return F.grid_sample(map_NCHW, grid, padding_mode=outside, align_corners=False)
