"""From clips and label rows to the tensors of one step, and from a teacher's answers to label rows.

Labels travel in pixels of the source frame, so every reader may crop as it likes: here they enter a student's
view, and here a teacher's view is undone. Axes: B clips, T frames, N = B T frames, S sources, K points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.data.copy_lane import lane_to
from tsal_dist.data.device_view import crop_side, render
from tsal_dist.geometry import affine
from tsal_dist.pseudo.schema import Added, LabelBatch, Strings
from tsal_dist.recipes.api import Source
from tsal_dist.recipes.frames import Answers, Frames, PseudoFrames
from tsal_dist.recipes.target import Evidence
from tsal_dist.records import Clip


def stack_frames(clips: Sequence[Clip], device: torch.device) -> Frames:
    """Clips as one flat batch of frames."""
    counts_B1 = np.array([[not clip.pad] for clip in clips])
    labelled_BT = np.stack([clip.labelled_T for clip in clips]) & counts_B1
    visible_BTK = np.stack([clip.visible_TK for clip in clips]) & labelled_BT[..., None]

    send = lane_to(device).send

    def flat(array: NDArray[np.generic]) -> Tensor:
        return send(array.reshape(-1, *array.shape[2:]))

    return Frames(
        image_NHWC=render(clips, device).flatten(0, 1),
        points_NK2=flat(np.stack([clip.points_TK2 for clip in clips])),
        visible_NK=flat(visible_BTK),
        labelled_N=flat(labelled_BT),
        face_px_B=send(np.array([clip.face_px for clip in clips], np.float32)),
        clip_frames=len(clips[0].image_THWC),
        again_N=np.concatenate([np.diff(clip.frames_T, prepend=clip.frames_T[0] - 1) == 0 for clip in clips]),
    )


def enter_view(
    rows: LabelBatch,
    clips: Sequence[Clip],
    sources: Sequence[str],
    fresh_N: NDArray[np.float32],
    device: torch.device,
) -> PseudoFrames:
    """Label rows of whole clips, and the clips as the student sees them, as one batch.

    A frame that is not fresh at all was damaged or could not be read: its sources have nothing to say, whatever a method
    makes of freshness.
    """
    points = np.stack([rows.xy_NK2[source] for source in sources], 1).astype(np.float64)
    score = np.stack([rows.score_NK[source] for source in sources], 1).astype(np.float32)
    valid = np.stack([rows.valid_NK[source] for source in sources], 1) & (fresh_N > 0)[:, None, None]
    fb_error = rows.fb_error_NK.astype(np.float32)
    error = _errors(rows, sources)
    matrices = [clip.to_crop_23 for clip in clips]
    more = {source: Added(added.kind, np.array(added.value_NK)) for source, added in rows.more.items()}
    _move(
        clips,
        matrices,
        places=(points, *_places(more)),
        by_source=(points, score, valid, error),
        by_point=(fb_error, *(added.value_NK for added in more.values())),
    )
    _scale(matrices, error)
    crop_px = crop_side(clips[0])
    inside = ((points >= -0.5) & (points <= crop_px - 0.5)).all(-1)
    cell = None
    if rows.cell_N22 is not None:  # a lost row holds zeros, which could not be undone
        cell = np.where(
            (fresh_N > 0)[:, None, None], _turn(matrices, rows.cell_N22), np.eye(2, dtype=np.float32)
        )
    send = lane_to(device).send
    evidence = Evidence(
        sources=tuple(sources),
        points_NSK2=send(points.astype(np.float32)),
        score_NSK=send(score),
        valid_NSK=send(valid & inside),
        fb_error_NK=send(fb_error),
        fresh_N=send(fresh_N.astype(np.float32)),
        more={source: send(added.value_NK) for source, added in more.items()},
        cell_N22=None if cell is None else send(cell),
        error_NSK=send(error) if rows.error_NK else None,
    )
    return PseudoFrames(stack_frames(clips, device), evidence)


def leave_view(answers: Answers, clips: Sequence[Clip], sources: Sequence[Source], stride: int) -> LabelBatch:
    """A teacher's answers about clips, as rows in source pixels, the frames of a clip side by side."""
    clip_frames = len(clips[0].image_THWC)
    # Copies, for what is on the CPU already would be changed under its owner's hands.
    points = answers.points_NSK2.double().cpu().numpy().copy()
    score = answers.score_NSK.float().cpu().numpy().copy()
    valid = answers.valid_NSK.cpu().numpy().copy()
    fb_error = answers.fb_error_NK.float().cpu().numpy().copy()
    error = np.full_like(score, np.nan)
    if answers.error_NSK is not None:
        error[:] = answers.error_NSK.float().cpu().numpy()
    reading = {source.name: source.reading for source in sources}
    more = {name: Added(reading[name], value.cpu().numpy().copy()) for name, value in answers.more.items()}
    matrices = [affine.invert(clip.to_crop_23) for clip in clips]
    _move(
        clips,
        matrices,
        places=(points, *_places(more)),
        by_source=(points, score, valid, error),
        by_point=(fb_error, *(added.value_NK for added in more.values())),
    )
    _scale(matrices, error)
    cells = np.tile(np.eye(2, dtype=np.float32) * stride, (len(points), 1, 1))
    patches = any(source.reading == "patch" for source in sources)
    return LabelBatch(
        video=Strings.of([clip.video for clip in clips for _ in range(clip_frames)]),
        frame_N=np.concatenate([clip.frames_T for clip in clips]).astype(np.int32),
        sample_id_N=np.concatenate(
            [clip.sample_id * clip_frames + np.arange(clip_frames) for clip in clips]
        ).astype(np.uint64),
        shard_N=np.repeat(np.array([clip.ref.shard for clip in clips], np.int32), clip_frames),
        index_N=np.concatenate([_positions(clip) for clip in clips]).astype(np.int32),
        box_N4=np.repeat(np.stack([clip.box_4 for clip in clips]), clip_frames, axis=0).astype(np.float32),
        xy_NK2={source.name: points[:, place].astype(np.float32) for place, source in enumerate(sources)},
        score_NK={source.name: score[:, place] for place, source in enumerate(sources)},
        valid_NK={source.name: valid[:, place] for place, source in enumerate(sources)},
        fb_error_NK=fb_error,
        error_NK={
            source.name: error[:, place] for place, source in enumerate(sources) if source.states_error
        },
        more=more,
        cell_N22=_turn(matrices, cells) if patches else None,
    )


def _places(more: Mapping[str, Added]) -> list[NDArray[Any]]:
    """Of what sources add, that which are points again."""
    return [added.value_NK for added in more.values() if added.kind == "candidates"]


def _errors(rows: LabelBatch, sources: Sequence[str]) -> NDArray[np.float32]:
    """Errors_NSK in source pixels; not a number where none is stated, or in a column from before it was."""
    blank = np.full(rows.fb_error_NK.shape, np.nan, np.float32)
    error = np.stack([rows.error_NK.get(source, blank) for source in sources], 1).astype(np.float32)
    return np.where(error > 0, error, np.float32(np.nan))


def _move(
    clips: Sequence[Clip],
    matrices: Sequence[affine.Matrix],
    *,
    places: Sequence[NDArray[np.floating]],
    by_source: Sequence[NDArray[np.generic]],
    by_point: Sequence[NDArray[np.generic]],
) -> None:
    """Take each clip's points through its matrix, in place. A mirror renames all that belongs to a landmark.

    `places` are points, N ... 2. `by_source` and `by_point` are they and whatever else belongs to landmarks: N S K ..., and
    N K ...
    """
    clip_frames = len(places[0]) // len(matrices)
    for place, (clip, matrix_23) in enumerate(zip(clips, matrices, strict=True)):
        mine = slice(place * clip_frames, (place + 1) * clip_frames)
        for points in places:
            points[mine] = affine.apply(matrix_23, points[mine])
        if clip.mirror_K:
            order = list(clip.mirror_K)
            for array in by_source:
                array[mine] = array[mine].take(order, axis=2)
            for array in by_point:
                array[mine] = array[mine].take(order, axis=1)


def _scale(matrices: Sequence[affine.Matrix], error_NSK: NDArray[np.float32]) -> None:
    """Lengths in pixels through each clip's matrix, in place."""
    clip_frames = len(error_NSK) // len(matrices)
    for place, matrix_23 in enumerate(matrices):
        scale = np.sqrt(abs(np.linalg.det(matrix_23[:, :2])))
        error_NSK[place * clip_frames : (place + 1) * clip_frames] *= np.float32(scale)


def _turn(matrices: Sequence[affine.Matrix], cell_N22: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels of one cell of a patch, through each clip's matrix."""
    clip_frames = len(cell_N22) // len(matrices)
    turned = [matrix_23[:, :2] for matrix_23 in matrices for _ in range(clip_frames)]
    return (np.stack(turned) @ cell_N22).astype(np.float32)


def _positions(clip: Clip) -> NDArray[np.int64]:
    """Where each frame lies in its shard; a clip that ran into its video's end repeats the last."""
    distinct = np.unique(clip.frames_T, return_inverse=True)[1]
    return clip.ref.index + clip.stride * distinct.astype(np.int64)
