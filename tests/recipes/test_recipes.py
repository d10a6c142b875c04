"""Each method's target and weights, and the settings under which methods must coincide."""

import pytest
import torch

from tsal_dist.recipes.api import Task
from tsal_dist.recipes.find import find_method
from tsal_dist.recipes.target import Evidence

SOURCES = ("heatmap", "center", "track")


def evidence(points_SNK2, *, sources=SOURCES, score=0.5, valid=None, fresh=1.0, fb_px=0.0):
    points_NSK2 = torch.stack(list(points_SNK2), 1)
    frames, _, points = points_NSK2.shape[:3]
    return Evidence(
        sources=sources,
        points_NSK2=points_NSK2,
        score_NSK=torch.full(points_NSK2.shape[:3], score),
        valid_NSK=torch.ones(points_NSK2.shape[:3], dtype=torch.bool) if valid is None else valid,
        fb_error_NK=torch.full((frames, points), fb_px),
        fresh_N=torch.full((frames,), fresh),
    )


TASK = Task(points=4, crop_px=96, stride=4, radius=4, sigma_px=6.0, clip_frames=1)


def labeller(name, **settings):
    return find_method(name).build(settings, TASK).label


def test_sources_that_agree_give_full_weight_and_their_common_point():
    points = torch.rand(3, 4, 2) * 90
    target = labeller("tsal")(evidence([points] * 3))
    torch.testing.assert_close(target.points_NK2, points)
    assert torch.equal(target.weight_NK, torch.ones(3, 4))


@pytest.mark.parametrize("use", [["heatmap", "track"], ["track", "heatmap"]])
def test_two_sources_meet_in_the_middle_whatever_their_order(use):
    points = torch.full((1, 4, 2), 30.0)
    label = labeller("tsal", use=use)
    target = label(evidence([points, points + torch.tensor([4.0, 0.0])], sources=("heatmap", "track")))
    torch.testing.assert_close(target.points_NK2, points + torch.tensor([2.0, 0.0]))


def test_sources_that_disagree_teach_nothing():
    points = torch.rand(2, 4, 2) * 90
    target = labeller("tsal")(evidence([points, points + 30, points - 30]))
    assert torch.equal(target.weight_NK, torch.zeros(2, 4))


def test_a_point_with_one_valid_source_teaches_nothing():
    points = torch.rand(1, 4, 2)
    valid = torch.ones(1, 3, 4, dtype=torch.bool)
    valid[:, 1:, 2] = False
    weight = labeller("tsal")(evidence([points] * 3, valid=valid)).weight_NK
    assert weight.tolist() == [[1.0, 1.0, 0.0, 1.0]]


def test_one_source_alone_is_an_ablation_weighed_by_score():
    points = torch.rand(2, 4, 2)
    target = labeller("tsal", use=["heatmap"])(evidence([points], sources=("heatmap",)))
    assert torch.equal(target.points_NK2, points)
    assert torch.equal(target.weight_NK, torch.ones(2, 4))


def test_a_poor_track_loses_its_voice():
    """With the track distrusted, the fused point moves to the detections."""
    points = torch.full((1, 4, 2), 30.0)
    shifted = points + torch.tensor([2.0, 0.0])
    label = labeller("tsal")
    trusted = label(evidence([points, shifted, shifted], fb_px=0.0)).points_NK2
    doubted = label(evidence([points, shifted, shifted], fb_px=9.0)).points_NK2
    torch.testing.assert_close(trusted, shifted)
    torch.testing.assert_close(doubted, points + torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("recipe", ["tsal", "mean_teacher"])
def test_staler_labels_weigh_less(recipe):
    points = torch.rand(2, 4, 2)
    weight = labeller(recipe)(evidence([points] * 3, fresh=0.75)).weight_NK
    torch.testing.assert_close(weight, torch.full((2, 4), 0.75))


def test_mean_teacher_learns_the_heatmap_s_peak_alone():
    points = torch.rand(2, 4, 2)
    target = labeller("mean_teacher")(evidence([points, points + 50, points - 50]))
    assert torch.equal(target.points_NK2, points)
    assert torch.equal(target.weight_NK, torch.ones(2, 4))


def test_tsal_with_one_agreeing_pair_of_sources_weighs_as_mean_teacher():
    """No-op: where sources cannot disagree, the two methods see the same target."""
    points = torch.rand(2, 4, 2)
    seen = evidence([points] * 3)
    tsal, mean_teacher = labeller("tsal")(seen), labeller("mean_teacher")(seen)
    torch.testing.assert_close(tsal.points_NK2, mean_teacher.points_NK2)
    torch.testing.assert_close(tsal.weight_NK, mean_teacher.weight_NK)


def test_supervised_gives_no_weight():
    assert labeller("supervised")(evidence([torch.rand(2, 4, 2)] * 3)).weight_NK.sum() == 0


@pytest.mark.parametrize(("mode", "queue"), [("queue", 4), ("ema", 1)])
def test_the_teacher_absorbs_in_the_chosen_way(mode, queue):
    update = find_method("tsal").build({"absorb": mode}, TASK).panel["teacher"].follow
    teacher = torch.nn.Linear(1, 1)
    for _ in range(6):
        update.absorb(teacher, torch.nn.Linear(1, 1).state_dict(), {})
    assert update.every_version
    assert len(update.state_dict()) == queue
