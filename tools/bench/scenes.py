"""Small people who cross a wider picture, come late and leave, with their landmarks: what a detector of whole pictures misses.

Heads are cut out of the clips of `synthetic` and moved over another place. The same seed gives the same pixels.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.synthetic.clip import ClipSpec, render_clip
from tsal_dist.synthetic.scenery import Ground

WIDTH, HEIGHT, FPS = 480, 270, 25
HEAD = (1.25, 1.5)
"""The ellipse that is cut out, in the landmarks' half width and height."""
SEEN = 0.5
"""Share of a person's landmarks in the picture from which there is somebody."""


@dataclass(frozen=True)
class Scene:
    """A video in memory."""

    frames_THWC: NDArray[np.uint8]
    """BGR."""
    people: list[list[NDArray[np.float32]]]
    """For each frame the landmarks K2 of everybody who is there."""

    def boxes(self, frame: int) -> NDArray[np.float64]:
        """Around everybody's landmarks."""
        corners = [np.concatenate([each_K2.min(0), each_K2.max(0)]) for each_K2 in self.people[frame]]
        return np.array(corners, np.float64).reshape(-1, 4)


def make_scene(seed: int, number: int, frames: int = 40, clip_px: int = 72, people: int = 1) -> Scene:
    """A place of its own, and people who are in it for some of the time. A head is about half of `clip_px`."""
    random = np.random.default_rng([seed, number])
    ground, side_px = Ground.draw(random, WIDTH, frames), WIDTH
    cut = (side_px - HEIGHT) // 2
    frames_THWC = np.stack([ground.frame(t, side_px)[cut : cut + HEIGHT] for t in range(frames)])
    told: list[list[NDArray[np.float32]]] = [[] for _ in range(frames)]
    for person in range(people):
        clip = render_clip(ClipSpec(seed, 100 * number + person, frames, clip_px))
        for t, (x, y) in enumerate(_path(random, frames, clip_px, person, people)):
            points_K2 = clip.points[t] + np.array([x, y], np.float32)
            inside_K = ((points_K2 >= 0) & (points_K2 < [WIDTH, HEIGHT])).all(1)
            _paste(frames_THWC[t], clip.frames[t], clip.points[t], (x, y))
            if inside_K.mean() >= SEEN:
                told[t].append(points_K2)
    return Scene(frames_THWC, told)


def _path(
    random: np.random.Generator, frames: int, clip_px: int, person: int, people: int
) -> list[tuple[int, int]]:
    """The clip's corner in each frame: along a line through the picture, which every second person leaves or comes into."""
    lane = HEIGHT - clip_px
    y = lane * (person + random.uniform(0.2, 0.8)) / people + random.uniform(-4, 4) * np.sin(
        np.arange(frames) / random.uniform(3, 8)
    )
    here = random.uniform(0.15, 0.85) * (WIDTH - clip_px)
    outside = -clip_px if random.random() < 0.5 else WIDTH
    there = here + random.uniform(-0.3, 0.3) * WIDTH
    x = np.linspace(here, np.clip(there, 0, WIDTH - clip_px), frames)
    if random.random() < 0.6:  # gone for the last or the first two fifths
        gone = 2 * frames // 5
        x[gone:] = outside
        x[:gone] = np.linspace(here, outside, gone)
        x = x if random.random() < 0.5 else x[::-1]
    return [(int(round(a)), int(round(b))) for a, b in zip(x, y, strict=True)]


def _paste(
    image_HWC: NDArray[np.uint8],
    clip_HWC: NDArray[np.uint8],
    points_K2: NDArray[np.float32],
    corner: tuple[int, int],
) -> None:
    """The head of a clip over a picture, with its edge smoothed."""
    side_px = len(clip_HWC)
    low_2, high_2 = points_K2.min(0), points_K2.max(0)
    half_2 = (high_2 - low_2) / 2 * np.array(HEAD)
    middle_2 = (low_2 + high_2) / 2 - [0, 0.15 * half_2[1]]
    mask_HW = np.zeros((side_px, side_px), np.float32)
    cv2.ellipse(mask_HW, middle_2.astype(int).tolist(), half_2.astype(int).tolist(), 0, 0, 360, 1, -1)
    mask_HW = np.asarray(cv2.GaussianBlur(mask_HW, (0, 0), 1.0), np.float32)
    (x, y), (left, top) = corner, (max(0, corner[0]), max(0, corner[1]))
    right, bottom = min(WIDTH, x + side_px), min(HEIGHT, y + side_px)
    if left >= right or top >= bottom:
        return
    inner = (slice(top - y, bottom - y), slice(left - x, right - x))
    part_HWC = image_HWC[top:bottom, left:right]
    share_HW1 = mask_HW[inner][..., None]
    part_HWC[:] = np.rint(share_HW1 * clip_HWC[inner] + (1 - share_HW1) * part_HWC).astype(np.uint8)


def write_scene(path: Path, scene: Scene) -> None:
    """As motion JPEG."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for frame_HWC in scene.frames_THWC:
        writer.write(frame_HWC)
    writer.release()


def write_labels(path: Path, scenes: dict[str, Scene], every: int, points: Sequence[int]) -> None:
    """These landmarks of everybody in every so many frames; a row without any where nobody is."""
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "frame", *(f"p{k}{axis}" for k in range(len(points)) for axis in "xy")])
        for name, scene in scenes.items():
            for t in range(0, len(scene.people), every):
                for each_K2 in scene.people[t]:
                    table.writerow([name, t + 1, *np.round(each_K2[list(points)], 2).ravel().tolist()])
                if not scene.people[t]:
                    table.writerow([name, t + 1, *[""] * (2 * len(points))])
