"""From clips and label rows to the tensors of one step, and from a teacher's answers to label rows.

Labels travel in pixels of the source frame, so every reader may crop as it likes: here they enter a student's
view, and here a teacher's view is undone. Axes: B clips, T frames, N = B T frames, S sources, K points.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsal_dist.data.stream import collate
from tsal_dist.geometry import affine
from tsal_dist.geometry.flip import flip_order
from tsal_dist.pseudo.schema import LabelBatch, Strings
from tsal_dist.recipes.frames import Answers, Frames, PseudoFrames
from tsal_dist.recipes.target import Evidence
from tsal_dist.records import Clip


def stack_frames(clips: Sequence[Clip], device: torch.device) -> Frames:
    """Clips as one flat batch of frames."""
    batch = collate(list(clips))
    counts_B1 = ~batch["pad_B"][:, None]
    labelled_BT = batch["labelled_BT"] & counts_B1
    visible_BTK = batch["visible_BTK"] & labelled_BT[..., None]

    def flat(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array.reshape(-1, *array.shape[2:])).to(device, non_blocking=True)

    return Frames(
        image_NHWC=flat(batch["image_BTHWC"]),
        points_NK2=flat(batch["points_BTK2"]),
        visible_NK=flat(visible_BTK),
        labelled_N=flat(labelled_BT),
        face_px_B=torch.from_numpy(batch["face_px_B"]).to(device, non_blocking=True),
        clip_frames=batch["image_BTHWC"].shape[1],
    )


def enter_view(
    rows: LabelBatch,
    clips: Sequence[Clip],
    sources: Sequence[str],
    lag_rho_N: NDArray[np.float32],
    device: torch.device,
) -> PseudoFrames:
    """Label rows of whole clips, and the clips as the student sees them, as one batch.

    The clips' own annotations are not looked at: an unlabelled video may have some.
    """
    points = np.stack([rows.xy_NK2[source] for source in sources], 1).astype(np.float64)
    score = np.stack([rows.score_NK[source] for source in sources], 1).astype(np.float32)
    valid = np.stack([rows.valid_NK[source] for source in sources], 1)
    fb_error = rows.fb_error_NK.astype(np.float32)
    _move([clip.to_crop_23 for clip in clips], points, score, valid, fb_error)
    crop_px = clips[0].image_THWC.shape[1]
    inside = ((points >= -0.5) & (points <= crop_px - 0.5)).all(-1)
    frames = stack_frames(clips, device)
    evidence = Evidence(
        sources=tuple(sources),
        points_NSK2=torch.from_numpy(points.astype(np.float32)).to(device),
        score_NSK=torch.from_numpy(score).to(device),
        valid_NSK=torch.from_numpy(valid & inside).to(device),
        fb_error_NK=torch.from_numpy(fb_error).to(device),
        lag_rho_N=torch.from_numpy(lag_rho_N.astype(np.float32)).to(device),
    )
    return PseudoFrames(frames, evidence)


def leave_view(answers: Answers, clips: Sequence[Clip], sources: Sequence[str]) -> LabelBatch:
    """A teacher's answers about clips, as rows in source pixels, the frames of a clip side by side."""
    clip_frames = len(clips[0].image_THWC)
    # Copies, for what is on the CPU already would be changed under its owner's hands.
    points = answers.points_NSK2.double().cpu().numpy().copy()
    score = answers.score_NSK.float().cpu().numpy().copy()
    valid = answers.valid_NSK.cpu().numpy().copy()
    fb_error = answers.fb_error_NK.float().cpu().numpy().copy()
    _move([affine.invert(clip.to_crop_23) for clip in clips], points, score, valid, fb_error)
    per_source: Mapping[str, int] = {source: place for place, source in enumerate(sources)}
    return LabelBatch(
        video=Strings.of([clip.video for clip in clips for _ in range(clip_frames)]),
        frame_N=np.concatenate([clip.frames_T for clip in clips]).astype(np.int32),
        sample_id_N=np.concatenate(
            [clip.sample_id * clip_frames + np.arange(clip_frames) for clip in clips]
        ).astype(np.uint64),
        shard_N=np.repeat(np.array([clip.ref.shard for clip in clips], np.int32), clip_frames),
        index_N=np.concatenate([_positions(clip) for clip in clips]).astype(np.int32),
        box_N4=np.repeat(np.stack([clip.box_4 for clip in clips]), clip_frames, axis=0).astype(np.float32),
        xy_NK2={source: points[:, place].astype(np.float32) for source, place in per_source.items()},
        score_NK={source: score[:, place] for source, place in per_source.items()},
        valid_NK={source: valid[:, place] for source, place in per_source.items()},
        fb_error_NK=fb_error,
    )


def _move(
    matrices: Sequence[affine.Matrix],
    points_NSK2: NDArray[np.float64],
    score_NSK: NDArray[np.float32],
    valid_NSK: NDArray[np.bool_],
    fb_error_NK: NDArray[np.float32],
) -> None:
    """Take each clip's points through its matrix, in place. A mirror renames all that belongs to a landmark."""
    clip_frames = len(points_NSK2) // len(matrices)
    for place, matrix_23 in enumerate(matrices):
        mine = slice(place * clip_frames, (place + 1) * clip_frames)
        points_NSK2[mine] = affine.apply(matrix_23, points_NSK2[mine])
        if affine.mirrors(matrix_23):
            order = list(flip_order(points_NSK2.shape[2]))
            points_NSK2[mine] = points_NSK2[mine][:, :, order]
            score_NSK[mine] = score_NSK[mine][..., order]
            valid_NSK[mine] = valid_NSK[mine][..., order]
            fb_error_NK[mine] = fb_error_NK[mine][..., order]


def _positions(clip: Clip) -> NDArray[np.int64]:
    """Where each frame lies in its shard; a clip that ran into its video's end repeats the last."""
    distinct = np.unique(clip.frames_T, return_inverse=True)[1]
    return clip.ref.index + clip.stride * distinct.astype(np.int64)
