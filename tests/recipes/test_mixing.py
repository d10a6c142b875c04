"""Harder views: what is covered, pasted, blended or turned, and what becomes of the targets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.roles.painted import POINTS, SIZE_PX, STRIDE, ColourDetector, grid_points, paint, unlabelled
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.models.input import normalize
from tsal_dist.recipes.api import Lesson
from tsal_dist.recipes.mixing import BlendedPoints, Covered, InTurn, Pasted, Several, Turned
from tsal_dist.recipes.target import Target

FRAMES = 2


@pytest.fixture
def lesson():
    """Two clips of two painted frames; every point counts."""
    points = np.stack([grid_points((t, 2 * clip)) for clip in range(2) for t in range(FRAMES)])
    images = torch.from_numpy(np.stack([paint(frame) for frame in points]))
    where = torch.from_numpy(points).float()
    return Lesson(unlabelled(images, FRAMES), {"teacher": Target(where, torch.ones(where.shape[:2]))})


def mixed(mix, lesson, seed=0):
    return mix(lesson, np.random.default_rng(seed))


def changed(made, lesson):
    return (made.frames.image_NHWC != lesson.frames.image_NHWC).any(-1)


def test_patches_cover_points_and_leave_their_labels(lesson):
    (made,) = mixed(Covered(patches=3, size=0.1), lesson)
    assert changed(made, lesson).any((1, 2)).all()
    assert made.targets["teacher"] is lesson.targets["teacher"], "what is hidden is to be found all the same"
    (none,) = mixed(Covered(patches=0), lesson)
    assert not changed(none, lesson).any()


def test_a_pasted_patch_is_some_frames_own_pixels(lesson):
    (made,) = mixed(Pasted(patches=4, size=0.2), lesson)
    for frame, where in enumerate(changed(made, lesson)):
        pixels = made.frames.image_NHWC[frame][where]
        others = [image[where] for image in lesson.frames.image_NHWC]
        assert all(any(torch.equal(pixel, other[at]) for other in others) for at, pixel in enumerate(pixels))


def test_points_without_weight_are_never_chosen(lesson):
    """Else a patch would tell where the teacher was unsure."""
    first = lesson.targets["teacher"]
    only = torch.zeros_like(first.weight_NK)
    only[:, 7] = 1
    one = Lesson(lesson.frames, {"teacher": replace(first, weight_NK=only)})
    (made,) = mixed(Covered(patches=5, size=0.1), one)
    for frame, where in enumerate(changed(made, one)):
        rows, columns = where.nonzero(as_tuple=True)
        gap = torch.stack([columns, rows], -1).float() - first.points_NK2[frame, 7]
        assert gap.abs().max() <= 0.1 * SIZE_PX / 2 + 1


def test_a_blended_point_counts_as_much_as_is_left_of_it(lesson):
    (made,) = mixed(BlendedPoints(points=2, size=0.05), lesson)
    weight = made.targets["teacher"].weight_NK
    blended = weight < 1
    assert (blended.sum(1) >= 1).all()
    assert (weight[blended] >= 0.3 * 0.3 - 1e-6).all(), "two blends of one point at most"
    assert changed(made, lesson).any((1, 2)).all()


def test_a_turned_picture_shows_its_points_where_the_target_says(lesson):
    (made,) = mixed(Turned(degrees=25, scale=0.1), lesson)
    target = made.targets["teacher"]
    found, _ = decode_heatmap(ColourDetector()(normalize(made.frames.image_NHWC)).points_heat_NKhw, STRIDE, 4)
    counts = target.weight_NK > 0
    gap = (found - target.points_NK2).norm(dim=-1)[counts]
    assert counts.float().mean() > 0.8
    assert gap.median() < 1.0
    for clip in range(2):
        frame = FRAMES * clip
        moved = target.points_NK2[frame + 1] - target.points_NK2[frame]
        assert (moved.std(0) < 1e-3).all(), (
            "the frames of a clip turn together, so it moves as the video does"
        )
    one, other = (target.points_NK2[FRAMES * clip].std(0) for clip in range(2))
    assert not torch.allclose(one, other), "each clip by a turn of its own"


def test_no_turn_changes_nothing(lesson):
    (made,) = mixed(Turned(degrees=0, scale=0), lesson)
    assert not changed(made, lesson).any()
    torch.testing.assert_close(made.targets["teacher"].points_NK2, lesson.targets["teacher"].points_NK2)


def test_soft_maps_turn_with_the_picture(lesson):
    from tsal_dist.geometry.heatmap import encode_heatmap

    first = lesson.targets["teacher"]
    cells = (SIZE_PX // STRIDE,) * 2
    heat = encode_heatmap(first.points_NK2, first.weight_NK, cells, STRIDE, 6.0)[:, :POINTS]
    soft = Lesson(lesson.frames, {"teacher": replace(first, heat_NKhw=heat)})
    (made,) = mixed(Turned(degrees=25, scale=0.0), soft)
    target = made.targets["teacher"]
    found, _ = decode_heatmap(target.heat_NKhw, STRIDE, 3)
    inner = ((target.points_NK2 > 12) & (target.points_NK2 < SIZE_PX - 12)).all(-1)
    assert (found - target.points_NK2).norm(dim=-1)[inner].max() < 1.0


def test_several_ways_give_a_lesson_each_and_turns_follow_one_another(lesson):
    made = mixed(Several((Covered(1), InTurn((Turned(), Covered(2))), Turned())), lesson)
    assert len(made) == 3
    assert made[0].targets["teacher"] is lesson.targets["teacher"]
    assert not torch.equal(made[1].targets["teacher"].points_NK2, made[2].targets["teacher"].points_NK2)


def test_every_point_under_a_blended_patch_counts_less(lesson):
    """Not only the one that the patch was drawn around: its neighbours lie under it too."""
    (made,) = mixed(BlendedPoints(points=2, size=0.3), lesson)
    target = made.targets["teacher"]
    column, row = target.points_NK2.round().long().unbind(-1)
    under = changed(made, lesson)[torch.arange(len(row)).unsqueeze(1), row, column]
    assert (under.sum(1) > 2).all(), "more points than patches"
    assert (target.weight_NK[under] < 1).all()
    assert (target.weight_NK == 1).any(1).all(), "those beside the patches count in full"


def test_what_is_absent_is_under_no_patch(lesson):
    """It has no place: it stands at the corner, where a patch may lie."""
    first = lesson.targets["teacher"]
    absent = torch.zeros_like(first.weight_NK, dtype=torch.bool)
    absent[:, :3] = True
    (made,) = mixed(
        BlendedPoints(points=4, size=1.0),
        Lesson(lesson.frames, {"teacher": replace(first, absent_NK=absent)}),
    )
    weight = made.targets["teacher"].weight_NK
    assert (weight[absent] == 1).all()
    assert (weight[~absent] < 1).all()
