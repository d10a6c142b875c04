"""The same frames as several detectors see them, in one large view with the truth beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.geometry import affine
from tsal_dist.inference.evaluation import Evaluator, to_device
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.models.output import Forward
from tsal_dist.records import Clip, FrameRef

VIEW_PX = 256


@dataclass(frozen=True)
class Judge:
    """A detector and how it is measured."""

    forward: Forward
    evaluator: Evaluator


@dataclass(frozen=True)
class Shown:
    """One frame; points in pixels of the large view."""

    image_HWC: NDArray[np.uint8]
    truth_K2: NDArray[np.float64]
    visible_K: NDArray[np.bool_]
    points_K2: Mapping[str, NDArray[np.float64]]
    nme: Mapping[str, float]
    name: str


def show_frames(judges: Mapping[str, Judge], refs: Sequence[FrameRef]) -> list[Shown]:
    """Have every detector look at every frame, each through its own crop."""
    if not refs:
        return []
    shards = next(iter(judges.values())).evaluator.shards
    expand = next(iter(judges.values())).evaluator.expand
    large = _read(FrameReader(shards, ViewSettings(VIEW_PX, expand)), refs)
    source: dict[str, NDArray[np.float64]] = {}
    for name, judge in judges.items():
        how = judge.evaluator
        clips = _read(FrameReader(shards, ViewSettings(how.crop_px, how.expand)), refs)
        found_NK2, _ = how.find(judge.forward, to_device(clips, how.device))
        source[name] = np.stack(
            [
                affine.apply(affine.invert(clip.to_crop_23), points)
                for clip, points in zip(clips, found_NK2, strict=True)
            ]
        )
    return [
        _show(
            clip,
            {name: points[place] for name, points in source.items()},
            judges,
            shards.frame_name(clip.ref, clip.video, int(clip.frames_T[0])),
        )
        for place, clip in enumerate(large)
    ]


def mean_shape(
    shapes_NK2: NDArray[np.float64], visible_NK: NDArray[np.bool_], mirror_K: Sequence[int] = ()
) -> NDArray[np.float64] | None:
    """The average of complete shapes, each turned, scaled and moved onto the others, and made symmetric where
    `mirror_K` says how; None without any. Points that all lie in one place, as a lone one does, are no shape."""
    whole_NK2 = shapes_NK2[visible_NK.all(1)]
    centred_NK2 = whole_NK2 - whole_NK2.mean(1, keepdims=True)
    size_N = np.linalg.norm(centred_NK2, axis=(1, 2))
    if not size_N.any():
        return None
    centred_NK2 = centred_NK2[size_N > 0] / size_N[size_N > 0, None, None]
    # In the plane, a turn is a multiplication by a complex number of length 1.
    shape_NK = centred_NK2[..., 0] + 1j * centred_NK2[..., 1]
    for _ in range(2):
        turn_N = (shape_NK.conj() * shape_NK.mean(0)).sum(1)
        shape_NK = shape_NK * (turn_N / np.abs(turn_N))[:, None]
    mean_K = shape_NK.mean(0)
    mean_K2 = np.stack([mean_K.real, mean_K.imag], -1)
    if not mirror_K:
        return mean_K2
    return (mean_K2 + mean_K2[list(mirror_K)] * (-1, 1)) / 2


def _read(reader: FrameReader, refs: Sequence[FrameRef]) -> list[Clip]:
    try:
        return [reader.read(ClipRequest(ref, num_frames=1, stride=1)) for ref in refs]
    finally:
        reader.close()


def _show(
    clip: Clip, source: Mapping[str, NDArray[np.float64]], judges: Mapping[str, Judge], called: str
) -> Shown:
    truth_K2, visible_K = clip.points_TK2[0].astype(np.float64), clip.visible_TK[0]
    home_1K2 = affine.apply(affine.invert(clip.to_crop_23), truth_K2)[None]
    nme = {}
    for name, points_K2 in source.items():
        errors = FaceErrors(len(truth_K2), judges[name].evaluator.normalizer)
        nme[name] = float(errors.add(points_K2[None], home_1K2, visible_K[None], clip.box_4[None])[0])
    return Shown(
        image_HWC=clip.image_THWC[0],
        truth_K2=truth_K2,
        visible_K=visible_K,
        points_K2={name: affine.apply(clip.to_crop_23, points) for name, points in source.items()},
        nme=nme,
        name=called,
    )
