"""What looks like a mistake in what is packed, and need not be one: it is said, and packed all the same."""

import logging
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.pack.frame_count import open_video
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.video_facts import Probe
from tsal_dist.shards.frames import OK

log = logging.getLogger(__name__)

LEAST_FRAMES = 10
"""So many labelled frames, all with their points in one quarter of the picture, are no chance."""


def tell_copies(sources: Iterable[tuple[Input, Probe]]) -> None:
    """A file that is packed under two names."""
    content = {one.path: seen.digest for one, seen in sources if seen.status == OK}
    first: dict[str, str] = {}
    copies = [path for path, digest in content.items() if first.setdefault(digest, path) != path]
    if copies:
        more = f" ({len(copies)} files are copies of others)" if len(copies) > 1 else ""
        log.warning(
            "%s and %s have the same content%s: it is packed twice, and counts twice. Keep one of the two, and name that one in "
            "the labels of both.",
            *(first[content[copies[0]]], copies[0], more),
        )


def tell_scaled_labels(inputs: Sequence[Input]) -> None:
    """Labels that were made on smaller copies of the videos: all points lie in the upper left quarter. A video tells its size
    before it is decoded, and the first one with a point elsewhere, which is mostly the first of all, ends the search."""
    frames, furthest = 0, (-np.inf, "")
    for one in inputs:
        placed = _placed_points(one)
        size_2 = _size_px(one.path) if placed else np.zeros(2)
        if not size_2.all():
            continue
        reach_2 = np.concatenate(placed).max(0)
        share = float((reach_2 / size_2).max())
        if share >= 0.5:
            return
        frames += len(placed)
        where = "in {} the largest x is {:.0f} and the largest y {:.0f}, and its pictures have {:.0f} x {:.0f} pixels"
        furthest = max(furthest, (share, where.format(one.path, *reach_2, *size_2)))
    if frames >= LEAST_FRAMES:
        log.warning(
            "All points of %d labelled frames lie in the upper left quarter of their videos: %s. If the labels were made on "
            "smaller copies, pack those copies, or enlarge the labels by the ratio of the sizes.",
            *(frames, furthest[1]),
        )


def _placed_points(one: Input) -> list[NDArray[np.float32]]:
    """Of each labelled frame of a video; a picture of its own is what its labels were made on."""
    faces = [label.face for label in one.labels.values() if not label.problem]
    placed = [
        face.points_K2[face.visible_K > 0]
        for face in faces
        if face.points_K2 is not None and face.visible_K is not None
    ]
    return [points_N2 for points_N2 in placed if len(points_N2)] if one.kind == "video" else []


def _size_px(path: str) -> NDArray[np.float64]:
    """Width and height, by its header; zeros where it has none."""
    video = open_video(path)
    size_2 = np.array([video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)])
    video.release()
    return size_2
