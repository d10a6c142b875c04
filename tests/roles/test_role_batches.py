"""Labels enter a view and leave it as what they were, whoever's names the view gives them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.roles.painted import POINTS, SIZE_PX, build_clip, grid_points
from tsal_dist.geometry import affine
from tsal_dist.geometry.flip import flip_order
from tsal_dist.recipes.frames import Answers
from tsal_dist.records import FrameRef
from tsal_dist.roles.batches import enter_view, leave_view, stack_frames

CPU = torch.device("cpu")
SOURCES = ("heatmap", "track")
FRAMES = 3
VIEWS = {
    "plain": affine.translate(0, 0),
    "turned": affine.chain(
        affine.translate(-70, -50), affine.rotate(20), affine.scale(0.7), affine.translate(60, 65)
    ),
    "mirrored": affine.mirror(SIZE_PX),
    "turned and mirrored": affine.chain(affine.rotate(5), affine.scale(0.8), affine.mirror(SIZE_PX)),
}


def clip_in(view, **settings):
    points_TK2 = np.stack([grid_points((t, 0.5 * t)) for t in range(FRAMES)])
    return build_clip(points_TK2, to_crop_23=VIEWS[view], **settings)


def answers_for(clips, rng):
    """Different for every frame, source and point."""
    count = len(clips) * FRAMES
    return Answers(
        points_NSK2=torch.from_numpy(rng.uniform(30, 90, (count, len(SOURCES), POINTS, 2))).float(),
        score_NSK=torch.from_numpy(rng.uniform(0, 1, (count, len(SOURCES), POINTS))).float(),
        valid_NSK=torch.from_numpy(rng.uniform(0, 1, (count, len(SOURCES), POINTS)) > 0.3),
        fb_error_NK=torch.from_numpy(rng.uniform(0, 2, (count, POINTS))).float(),
    )


@pytest.mark.parametrize("view", VIEWS)
def test_what_leaves_a_view_comes_back_as_it_was(view, rng):
    clips = [clip_in(view), clip_in("plain", sample_id=9)]
    answers = answers_for(clips, rng)
    rows = leave_view(answers, clips, SOURCES)
    evidence = enter_view(rows, clips, SOURCES, np.zeros(len(rows), np.float32), CPU).evidence
    torch.testing.assert_close(evidence.points_NSK2, answers.points_NSK2, rtol=0, atol=1e-3)
    assert torch.equal(evidence.score_NSK, answers.score_NSK)
    assert torch.equal(evidence.valid_NSK, answers.valid_NSK)
    assert torch.equal(evidence.fb_error_NK, answers.fb_error_NK)


def test_a_teacher_in_the_mirror_means_the_other_side(rng):
    """Labels made in a mirrored view and read in a plain one carry the names of the plain one."""
    mirrored, plain = clip_in("mirrored"), clip_in("plain")
    answers = answers_for([mirrored], rng)
    rows = leave_view(answers, [mirrored], SOURCES)
    seen = enter_view(rows, [plain], SOURCES, np.zeros(FRAMES, np.float32), CPU).evidence
    order = list(flip_order(POINTS))
    x_NSK = SIZE_PX - 1 - answers.points_NSK2[:, :, order, 0]
    torch.testing.assert_close(seen.points_NSK2[..., 0], x_NSK, rtol=0, atol=1e-3)
    assert torch.equal(seen.score_NSK, answers.score_NSK[..., order])
    assert torch.equal(seen.valid_NSK, answers.valid_NSK[..., order])
    assert torch.equal(seen.fb_error_NK, answers.fb_error_NK[:, order])
    assert not torch.equal(seen.valid_NSK, answers.valid_NSK)


def test_rows_say_where_their_frames_lie(rng):
    clip = clip_in("plain", ref=FrameRef(2, 40), stride=5, frames_T=np.array([7, 12, 12], np.int32))
    rows = leave_view(answers_for([clip], rng), [clip], SOURCES)
    assert rows.index_N.tolist() == [40, 45, 45], (
        "a clip that ran into its video's end repeats the last frame"
    )
    assert rows.shard_N.tolist() == [2, 2, 2]
    assert rows.frame_N.tolist() == [7, 12, 12]
    assert rows.sample_id_N.tolist() == [9, 10, 11], "no two rows of a stream share an id"
    assert np.array_equal(rows.box_N4, np.repeat(clip.box_4[None], 3, 0))


def test_a_point_outside_of_the_students_crop_is_not_valid(rng):
    clip = clip_in("plain")
    answers = dataclasses.replace(
        answers_for([clip], rng), valid_NSK=torch.ones(FRAMES, 2, POINTS, dtype=torch.bool)
    )
    answers.points_NSK2[1, 0, 5] = torch.tensor([SIZE_PX + 3.0, 20.0])
    rows = leave_view(answers, [clip], SOURCES)
    valid_NSK = enter_view(rows, [clip], SOURCES, np.zeros(FRAMES, np.float32), CPU).evidence.valid_NSK
    assert not valid_NSK[1, 0, 5]
    assert valid_NSK.sum() == valid_NSK.numel() - 1


def test_a_pad_counts_as_unlabelled():
    frames = stack_frames([clip_in("plain"), clip_in("plain", pad=True)], CPU)
    assert frames.labelled_N.tolist() == [True] * FRAMES + [False] * FRAMES
    assert frames.visible_NK[:FRAMES].all()
    assert not frames.visible_NK[FRAMES:].any()


def test_a_frame_is_found_at_its_clips_place():
    clips = [clip_in("plain"), clip_in("plain")]
    frames = stack_frames(clips, CPU)
    assert len(frames) == 2 * FRAMES
    for place, clip in enumerate(clips):
        for t in range(FRAMES):
            at = place * frames.clip_frames + t
            assert torch.equal(frames.image_NHWC[at], torch.from_numpy(clip.image_THWC[t]))
            assert torch.equal(frames.points_NK2[at], torch.from_numpy(clip.points_TK2[t]))


def test_staleness_rides_along(rng):
    clip = clip_in("plain")
    rho_N = np.array([0.0, 0.25, 1.0], np.float32)
    rows = leave_view(answers_for([clip], rng), [clip], SOURCES)
    assert enter_view(rows, [clip], SOURCES, rho_N, CPU).evidence.lag_rho_N.tolist() == rho_N.tolist()
