"""Labels enter a view and leave it as what they were, whoever's names the view gives them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.roles.painted import POINTS, SIZE_PX, build_clip, grid_points
from tsal_dist.geometry import affine
from tsal_dist.geometry.flip import flip_order
from tsal_dist.pseudo.schema import LabelBatch
from tsal_dist.recipes.api import Source
from tsal_dist.recipes.frames import Answers
from tsal_dist.records import FrameRef
from tsal_dist.roles.batches import enter_view, leave_view, stack_frames

CPU = torch.device("cpu")
SOURCES = ("heatmap", "track")
ASKED = (Source("heatmap"), Source("track", reading="track"))
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
    mirror_K = flip_order(POINTS) if "mirrored" in view else ()
    return build_clip(points_TK2, to_crop_23=VIEWS[view], mirror_K=mirror_K, **settings)


def answers_for(clips, rng):
    """Different for every frame, source and point."""
    count = len(clips) * FRAMES
    return Answers(
        points_NSK2=torch.from_numpy(rng.uniform(30, 90, (count, len(SOURCES), POINTS, 2))).float(),
        score_NSK=torch.from_numpy(rng.uniform(0, 1, (count, len(SOURCES), POINTS))).float(),
        valid_NSK=torch.from_numpy(rng.uniform(0, 1, (count, len(SOURCES), POINTS)) > 0.3),
        fb_error_NK=torch.from_numpy(rng.uniform(0, 2, (count, POINTS))).float(),
        more={},
    )


@pytest.mark.parametrize("view", VIEWS)
def test_what_leaves_a_view_comes_back_as_it_was(view, rng):
    clips = [clip_in(view), clip_in("plain", sample_id=9)]
    answers = answers_for(clips, rng)
    rows = leave_view(answers, clips, ASKED, 4)
    evidence = enter_view(rows, clips, SOURCES, np.ones(len(rows), np.float32), CPU).evidence
    torch.testing.assert_close(evidence.points_NSK2, answers.points_NSK2, rtol=0, atol=1e-3)
    assert torch.equal(evidence.score_NSK, answers.score_NSK)
    assert torch.equal(evidence.valid_NSK, answers.valid_NSK)
    assert torch.equal(evidence.fb_error_NK, answers.fb_error_NK)


def test_a_teacher_in_the_mirror_means_the_other_side(rng):
    """Labels made in a mirrored view and read in a plain one carry the names of the plain one."""
    mirrored, plain = clip_in("mirrored"), clip_in("plain")
    answers = answers_for([mirrored], rng)
    rows = leave_view(answers, [mirrored], ASKED, 4)
    seen = enter_view(rows, [plain], SOURCES, np.ones(FRAMES, np.float32), CPU).evidence
    order = list(flip_order(POINTS))
    x_NSK = SIZE_PX - 1 - answers.points_NSK2[:, :, order, 0]
    torch.testing.assert_close(seen.points_NSK2[..., 0], x_NSK, rtol=0, atol=1e-3)
    assert torch.equal(seen.score_NSK, answers.score_NSK[..., order])
    assert torch.equal(seen.valid_NSK, answers.valid_NSK[..., order])
    assert torch.equal(seen.fb_error_NK, answers.fb_error_NK[:, order])
    assert not torch.equal(seen.valid_NSK, answers.valid_NSK)


@pytest.mark.parametrize("student", VIEWS)
@pytest.mark.parametrize("teacher", VIEWS)
def test_candidates_are_places_too(teacher, student, rng):
    """Where the points themselves go, candidates at the points go: from any teacher's view into any student's."""
    labelled_in, read_in = clip_in(teacher), clip_in(student)
    answers = dataclasses.replace(answers_for([labelled_in], rng), more={})
    answers.more["heatmap"] = torch.stack([answers.points_NSK2[:, place] for place in (0, 1, 0)], 2)
    asked = (Source("heatmap", "candidates", size=3), ASKED[1])
    rows = leave_view(answers, [labelled_in], asked, 4)
    seen = enter_view(rows, [read_in], SOURCES, np.ones(FRAMES, np.float32), CPU).evidence
    assert rows.more["heatmap"].kind == "candidates"
    assert set(rows.columns()) >= {"heatmap_candidates"}
    for place, source in enumerate((0, 1, 0)):
        torch.testing.assert_close(
            seen.more["heatmap"][:, :, place], seen.points_NSK2[:, source], rtol=0, atol=1e-3
        )
    if teacher != student:
        assert not torch.allclose(seen.more["heatmap"], answers.more["heatmap"], atol=1.0)


def test_rows_say_where_their_frames_lie(rng):
    clip = clip_in("plain", ref=FrameRef(2, 40), stride=5, frames_T=np.array([7, 12, 12], np.int32))
    rows = leave_view(answers_for([clip], rng), [clip], ASKED, 4)
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
    rows = leave_view(answers, [clip], ASKED, 4)
    valid_NSK = enter_view(rows, [clip], SOURCES, np.ones(FRAMES, np.float32), CPU).evidence.valid_NSK
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


def test_freshness_rides_along_and_what_is_lost_is_not_valid(rng):
    clip = clip_in("plain")
    fresh_N = np.array([1.0, 0.25, 0.0], np.float32)
    rows = leave_view(answers_for([clip], rng), [clip], ASKED, 4)
    evidence = enter_view(rows, [clip], SOURCES, fresh_N, CPU).evidence
    assert evidence.fresh_N.tolist() == fresh_N.tolist()
    assert evidence.valid_NSK[:2].any()
    assert not evidence.valid_NSK[2].any(), (
        "a labeller that ignores freshness must not learn from a lost frame"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_errors_patches_and_features_come_back_as_they_were(view, rng):
    clips = [clip_in(view)]
    asked = (Source("heatmap", "patch", size=5, states_error=True), Source("look", "feature", size=3))
    answers = dataclasses.replace(
        answers_for(clips, rng),
        more={
            "heatmap": torch.from_numpy(rng.integers(0, 255, (FRAMES, POINTS, 5, 5), dtype=np.uint8)),
            "look": torch.from_numpy(rng.normal(size=(FRAMES, POINTS, 3))).half(),
        },
        error_NSK=torch.from_numpy(rng.uniform(1, 5, (FRAMES, 2, POINTS))).float(),
    )
    rows = leave_view(answers, clips, asked, 4)
    assert set(rows.columns()) >= {"heatmap_patch", "look_feature", "heatmap_error", "cell"}
    assert "look_error" not in rows.columns()
    names = ("heatmap", "look")
    again = LabelBatch.from_columns(rows.columns(), names)
    evidence = enter_view(again, clips, names, np.ones(FRAMES, np.float32), CPU).evidence
    assert torch.equal(evidence.more["heatmap"], answers.more["heatmap"])
    assert torch.equal(evidence.more["look"], answers.more["look"])
    torch.testing.assert_close(evidence.error_NSK[:, 0], answers.error_NSK[:, 0])
    assert torch.isnan(evidence.error_NSK[:, 1]).all()
    torch.testing.assert_close(evidence.cell_N22, 4 * torch.eye(2).expand(FRAMES, 2, 2))


def test_an_error_grows_with_the_students_crop(rng):
    """Twice as large a crop makes every pixel's error twice as many pixels."""
    plain, large = clip_in("plain"), build_clip(grid_points()[None], to_crop_23=affine.scale(2.0))
    answers = dataclasses.replace(answers_for([plain], rng), error_NSK=torch.full((FRAMES, 2, POINTS), 3.0))
    rows = leave_view(answers, [plain], (Source("heatmap", states_error=True), ASKED[1]), 4)
    seen = enter_view(
        rows,
        [dataclasses.replace(plain, to_crop_23=large.to_crop_23)],
        SOURCES,
        np.ones(FRAMES, np.float32),
        CPU,
    )
    torch.testing.assert_close(seen.evidence.error_NSK[:, 0], torch.full((FRAMES, POINTS), 6.0))
