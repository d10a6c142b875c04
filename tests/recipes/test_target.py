"""What a labeller gives: its shapes, and a truth before all that a teacher says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.roles.painted import unlabelled
from tsal_dist.errors import ConfigError
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes import terms
from tsal_dist.recipes.api import Lesson, NetOutput, Seen, Task
from tsal_dist.recipes.conformance.trial import Trial
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.steps import make_targets, student_terms
from tsal_dist.recipes.target import Target, truth_first
from tsal_dist.recipes.terms import EmbeddingDirection, TargetCoordinates, target_maps

FRAMES, POINTS, CROP_PX, CELLS = 8, 68, 32, 8
TASK = Task(POINTS, CROP_PX, CROP_PX // CELLS, radius=4, sigma_px=3.0, clip_frames=4)
LABELLED = torch.arange(FRAMES) % 2 == 0


@pytest.fixture(autouse=True)
def same_draw():
    torch.manual_seed(0)


def places():
    return torch.rand(FRAMES, POINTS, 2) * CROP_PX


def target(weight=1.0):
    return Target(places(), torch.full((FRAMES, POINTS), weight))


def test_a_truth_outvotes_whatever_a_teacher_says():
    more = {"embedding": torch.rand(FRAMES, POINTS, 7)}
    wanted = {"teacher": replace(target(0.5), more=more), "reviewer": target(1.0)}
    truth, labelled = places(), LABELLED
    visible = torch.rand(FRAMES, POINTS) > 0.3
    for name, found in truth_first(wanted, truth, visible, labelled).items():
        assert torch.equal(found.points_NK2[labelled], truth[labelled])
        assert torch.equal(found.weight_NK[labelled], visible[labelled].float())
        assert not found.more_weight_NK[labelled].any(), "it was seen where the teacher took the point to be"
        assert torch.equal(found.points_NK2[~labelled], wanted[name].points_NK2[~labelled])
        assert torch.equal(found.weight_NK[~labelled], wanted[name].weight_NK[~labelled])
        assert torch.equal(found.more_weight_NK[~labelled], wanted[name].weight_NK[~labelled])
        second = found.piece(1, 2)
        assert torch.equal(second.more_weight_NK, found.more_weight_NK[FRAMES // 2 :])


def test_pseudo_labels_count_as_they_are_said_to_and_truths_in_full():
    pseudo = Trial("mean_teacher", {}).pseudo()
    frames = pseudo.frames
    known_N = torch.arange(len(frames)) % 2 == 0
    frames = replace(frames, labelled_N=known_N)
    given = Target(frames.points_NK2, torch.full(frames.visible_NK.shape, 0.8))
    found = make_targets(Plain(lambda evidence: given), pseudo.evidence, frames, counts=0.25)["teacher"]
    read_NK = (pseudo.evidence.fresh_N > 0).float().unsqueeze(-1).expand_as(given.weight_NK)
    torch.testing.assert_close(found.weight_NK[~known_N], 0.2 * read_NK[~known_N])
    assert torch.equal(found.weight_NK[known_N], frames.visible_NK[known_N].float())


@pytest.mark.parametrize("soft", [False, True])
def test_maps_of_a_frame_that_has_a_truth_are_gaussians_at_it(soft):
    heat_SNKhw = torch.zeros(1, FRAMES, POINTS + 1, CELLS, CELLS)
    maps = DetectorOutput(heat_SNKhw, heat_SNKhw[0, :, :1], heat_SNKhw[0])
    truth, seen = places(), torch.ones(FRAMES, POINTS, dtype=torch.bool)
    said = replace(target(), heat_NKhw=torch.rand(FRAMES, POINTS, CELLS, CELLS) if soft else None)
    found = target_maps(truth_first({"one": said}, truth, seen, LABELLED)["one"], maps, TASK)
    at_truth, as_said = (target_maps(one, maps, TASK) for one in (Target(truth, seen.float()), said))
    assert torch.equal(found[LABELLED], at_truth[LABELLED])
    assert torch.equal(found[~LABELLED], as_said[~LABELLED])


def test_an_embedding_teaches_nothing_where_the_truth_is_known():
    """The teacher's is of the point that it saw; at the true one the student would learn how it looks beside it."""
    trial = Trial("feature_distillation", {"teacher": "a run"})
    recipe, pseudo = trial.recipe(), trial.pseudo()
    net, moved = trial.student(recipe), []
    for known in (False, True):
        seen_NK = torch.full_like(pseudo.frames.visible_NK, known)
        frames = replace(pseudo.frames, visible_NK=seen_NK, labelled_N=seen_NK.all(1))
        lessons = [Lesson(frames, make_targets(recipe.label, pseudo.evidence, frames))]
        found, _ = student_terms(net, recipe.student, trial.labelled, lessons, recipe.terms, trial.task)
        moved.append(float(torch.autograd.grad(found["embedding"].mean(), net.project.weight)[0].norm()))
    assert moved[0] > 0
    assert moved[1] == 0


def told_by(given):
    """What is said of a labeller that gives this."""
    frames = unlabelled(torch.zeros(FRAMES, CROP_PX, CROP_PX, 3, dtype=torch.uint8), 4)
    evidence = SimpleNamespace(fresh_N=torch.ones(FRAMES), score_NSK=torch.ones(1))
    with pytest.raises(ConfigError) as told:
        make_targets(Plain(lambda evidence: given), evidence, frames)
    return str(told.value)


@pytest.mark.parametrize(
    ("part", "shape", "words"),
    [
        (
            "points_NK2",
            (8, 68),
            r"gave points_NK2 of the target 'teacher' as (8, 68). For 8 frames of 68 points",
        ),
        ("weight_NK", (8,), "weight_NK of the target 'teacher' as (8,). "),
        ("weight_NK", (8, 67), "must be a tensor of shape (8, 68)"),
        ("heat_NKhw", (68, 8, 8, 8), "heat_NKhw of the target 'teacher' as (68, 8, 8, 8)."),
        ("truth_N", (8, 68), "truth_N of the target 'teacher' as (8, 68)."),
        ("absent_NK", (1, 68), "absent_NK of the target 'teacher' as (1, 68)."),
        ("notes", (8, 1), "notes['one'] of the target 'teacher' as (8, 1)."),
        ("more", (4, 68, 7), "must be a tensor of shape (8, 68, 7)"),
    ],
)
def test_a_part_of_a_target_of_another_shape_is_one_sentence(part, shape, words):
    value = {"one": torch.ones(shape)} if part in ("notes", "more") else torch.ones(shape)
    assert words in told_by(replace(target(), **{part: value}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.ones(8, 68), "gave a Tensor. It must give a Target"),
        ({}, "gave a dict. It must give a Target"),
        ({"teacher": torch.ones(8, 68)}, "gave a Tensor as its target 'teacher'. It must be a Target"),
        (Target(np.ones((8, 68, 2)), torch.ones(8, 68)), "as no tensor but a ndarray"),
    ],
)
def test_what_is_no_target_is_said(given, words):
    assert words in told_by(given)


def one_place():
    """Of three points one counts nothing and one is absent; either may be anything."""
    return Target(
        torch.tensor([[[16.0, 16.0], [torch.nan] * 2, [torch.nan] * 2]]),
        torch.tensor([[1.0, 0.0, 1.0]]),
        absent_NK=torch.tensor([[False, False, True]]),
        more={"embedding": torch.rand(1, 3, 7)},
    )


def test_coordinates_are_learnt_of_points_that_are_somewhere():
    heat = torch.rand(1, 1, 4, CELLS, CELLS, requires_grad=True)
    output = DetectorOutput(heat, torch.zeros(1, 1, CELLS, CELLS), torch.zeros(1, 6, CELLS, CELLS))
    TargetCoordinates()(
        Seen([NetOutput(output)], Lesson(None, {"teacher": one_place()}), TASK)
    ).total.backward()
    assert heat.grad[0, 0, 0].any()
    assert not heat.grad[0, 0, 1:].any()


def test_embeddings_are_read_where_a_point_is_somewhere(monkeypatch):
    """Asked of a place that is no number, torch ends the process in the way back."""

    def sample_at(features, points, size_px):
        assert points.isfinite().all()
        return torch.rand(1, 3, 7, requires_grad=True)

    monkeypatch.setattr(terms, "sample_at", sample_at)
    wanted = one_place()
    found = EmbeddingDirection()(
        Seen([NetOutput(None, {"embedding": None})], Lesson(None, {"teacher": wanted}), TASK)
    )
    assert found.total.isfinite()
    assert wanted.more_weight_NK.tolist() == [[1.0, 0.0, 0.0]]
