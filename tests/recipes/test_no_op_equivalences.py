"""Settings under which a method is a plainer one: each part does what it says, and nothing beside."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.checkpoint.equality import equal
from tsal_dist.config.train import LossConfig
from tsal_dist.models.detectors import build_detector
from tsal_dist.recipes.averaging import RecursiveAverage
from tsal_dist.recipes.conformance.checks import LATE
from tsal_dist.recipes.conformance.trial import CLIPS, FRAMES, POINTS, Trial
from tsal_dist.recipes.following import Newest, Snapshot
from tsal_dist.recipes.mixing import BlendedPoints, Covered, InTurn, Pasted, Several, Turned
from tsal_dist.recipes.patches import lay_patches
from tsal_dist.recipes.steps import student_terms, term_weights, total_loss


def gradient(trial, only=None):
    """Of the student's loss; of the lessons' terms only those named count."""
    recipe = trial.recipe()
    net = trial.student(recipe)
    terms, _ = student_terms(
        net, recipe.student, trial.labelled, trial.lessons(recipe), recipe.terms, trial.task
    )
    weights = term_weights(recipe.terms, LATE, LossConfig())
    if only is not None:
        weights = {
            name: weight if name in (*only, "heat", "center", "offset") else 0.0
            for name, weight in weights.items()
        }
    counts = {name: term.count for name, term in terms.items()}
    total_loss(terms, counts, weights, world=1).backward()
    return {name: value.grad for name, value in net.named_parameters()}


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_a_reviewer_of_weight_0_is_none():
    alone = Trial("teacher_reviewer_student", {"reviewer": 0.0, "present": 0.0, "blended": 0})
    both = Trial("teacher_reviewer_student", {"reviewer": 0.5, "present": 0.0, "blended": 0})
    assert set(alone.recipe().panel) == {"teacher"}
    assert_close(gradient(alone), gradient(both, only=["label_heat"]))


def test_embeddings_of_weight_0_leave_the_heatmaps_alone():
    """But for the layer that shows them, which nothing else teaches."""
    without = gradient(Trial("feature_distillation", {"embedding": 0.0}))
    assert_close(without, gradient(Trial("feature_distillation", {}), only=["label_heat"]))
    detector = [name for name in without if name.startswith("net.")]
    assert any(bool(without[name].abs().sum() > 0) for name in detector)


def test_two_identical_teachers_are_one():
    trial = Trial("dual_mean_teacher", {})
    evidence = trial.pseudo().evidence
    one, other = evidence.source("first"), evidence.source("second")
    points, score, valid = (
        part.clone() for part in (evidence.points_NSK2, evidence.score_NSK, evidence.valid_NSK)
    )
    for part in (points, score, valid):
        part[:, other] = part[:, one]
    same = replace(
        evidence,
        points_NSK2=points,
        score_NSK=score,
        valid_NSK=valid,
        more={**evidence.more, "second": evidence.more["first"]},
    )
    target = trial.recipe().label(same)
    cells = (trial.task.crop_px // trial.task.stride,) * 2
    own = lay_patches(evidence.more["first"], points[:, one], evidence.cell_N22, cells, trial.task.stride)
    torch.testing.assert_close(target.heat_NKhw, own)
    torch.testing.assert_close(target.points_NK2, points[:, one])
    torch.testing.assert_close(target.weight_NK, valid[:, one] * evidence.fresh_N.unsqueeze(-1))


@pytest.mark.parametrize(
    "mix",
    [
        Covered(0),
        Pasted(0),
        BlendedPoints(0),
        BlendedPoints(points=2, least=0.0, most=0.0),
        InTurn(()),
        Several((Covered(0),)),
        Turned(degrees=0.0, scale=0.0),
    ],
    ids=repr,
)
def test_a_mix_of_nothing_leaves_everything_as_it_is(mix):
    trial = Trial("teacher_reviewer_student", {"present": 0.0})
    given = trial.lesson(trial.recipe())
    (made,) = mix(given, np.random.default_rng(0))
    apart = (made.frames.image_NHWC.int() - given.frames.image_NHWC.int()).abs().max()
    assert apart == 0
    for name, target in given.targets.items():
        torch.testing.assert_close(made.targets[name].points_NK2, target.points_NK2)
        torch.testing.assert_close(made.targets[name].weight_NK, target.weight_NK)


@pytest.mark.parametrize(
    "follow",
    [RecursiveAverage(keep=0.0, queue=1), Snapshot(every=1)],
    ids=lambda follow: type(follow).__name__,
)
def test_a_net_that_keeps_nothing_is_the_newest_version(follow):
    nets = [build_detector("lite", POINTS) for _ in range(2)]
    versions = [build_detector("lite", POINTS).state_dict() for _ in range(3)]
    for way, net in zip((follow, Newest()), nets, strict=True):
        way.follow(net, versions[0], {})
        for version in versions[1:]:
            way.absorb(net, version, {})
    assert equal(dict(nets[0].state_dict()), dict(nets[1].state_dict()))
    assert equal(dict(nets[0].state_dict()), dict(versions[-1]))


def test_sources_that_say_the_same_are_one_source():
    """`tsal` by heatmaps and tracks that agree teaches the points of the heatmaps."""
    trial = Trial("tsal", {"use": ["heatmap", "center"], "score_warmup": 1})
    evidence = trial.agreed().evidence
    recipe = trial.recipe()
    for _ in range(3):
        recipe.label.observe(recipe.label.moments(evidence))
    target = recipe.label(evidence)
    assert len(target.points_NK2) == CLIPS * FRAMES
    spread = (evidence.points_NSK2 - evidence.points_NSK2[:, :1]).norm(dim=-1).max()
    away = (target.points_NK2 - evidence.points_NSK2[:, 0]).norm(dim=-1).max()
    assert away <= spread + 1e-4
