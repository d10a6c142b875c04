"""What one step computes: counts, gradients, and who is taught by whom. Real detectors, random pictures."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.roles.painted import ShiftTracker, unlabelled
from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import LossConfig, OptimConfig
from tsal_dist.engine.batch_norms import statistics_kept
from tsal_dist.engine.ddp import DDPEngine
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector, stride_of
from tsal_dist.recipes.api import Lesson, OneNet, Progress, Source, Task
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.labelling import Limits, label
from tsal_dist.recipes.steps import (
    student_terms,
    supervised_terms,
    supervised_weights,
    term_weights,
    total_loss,
)
from tsal_dist.recipes.study import Study
from tsal_dist.recipes.target import Target
from tsal_dist.recipes.terms import Structure, TargetCoordinates, TargetHeatmaps
from tsal_dist.recipes.tracking import RebuiltFrames

CROP_PX, POINTS, LABELLED, CLIPS, FRAMES = 32, 68, 3, 2, 4
DETECTORS = ("lite", "lite0", "hrnet_w18", "cpm_vgg16")
ORIGINAL_FORWARDS = 66.8
"""Detector forwards per clip and model of the original code's schedule."""


@pytest.fixture(autouse=True)
def same_draw():
    torch.manual_seed(0)


def images(count):
    return torch.randint(0, 255, (count, CROP_PX, CROP_PX, 3), dtype=torch.uint8)


def labelled_frames(count=LABELLED, known=True):
    flags = torch.full((count,), known)
    return Frames(
        image_NHWC=images(count),
        points_NK2=torch.rand(count, POINTS, 2) * CROP_PX * known,
        visible_NK=(torch.rand(count, POINTS) > 0.2) & flags.unsqueeze(-1),
        labelled_N=flags,
        face_px_B=torch.full((count,), 20.0),
        clip_frames=1,
    )


def clips():
    return unlabelled(images(CLIPS * FRAMES), FRAMES)


def target(weight=1.0):
    points = torch.rand(CLIPS * FRAMES, POINTS, 2) * CROP_PX
    return Target(points, torch.full((CLIPS * FRAMES, POINTS), weight))


TERMS = (TargetHeatmaps(), TargetCoordinates(), Structure())
LATE = Progress(step=10, burn_in_steps=0, steps=20)
"""Where unlabelled frames count in full."""


def build(name="lite"):
    model = build_detector(name, POINTS)
    return model, Task(POINTS, CROP_PX, stride_of(model), radius=4, sigma_px=3.0, clip_frames=FRAMES)


def student_pass(forward, task, labelled, theirs=None, wanted=None):
    lessons = [Lesson(theirs, {"teacher": wanted})] if theirs else []
    return student_terms(forward, OneNet(), labelled, lessons, TERMS, task)


def student_loss(forward, task, labelled, theirs=None, wanted=None):
    terms, _ = student_pass(forward, task, labelled, theirs, wanted)
    counts = {name: term.count for name, term in terms.items()}
    return total_loss(terms, counts, term_weights(TERMS, LATE, LossConfig()), world=1)


def teacher_loss(forward, task, labelled, theirs):
    lessons = RebuiltFrames(task)
    output, further = lessons(Study(forward, forward, labelled, theirs, ShiftTracker(1.0, 0.0)))
    terms = supervised_terms(output, labelled, task) | further
    counts = {name: term.count for name, term in terms.items()}
    weights = supervised_weights(LossConfig()) | lessons.weights(LATE)
    return total_loss(terms, counts, weights, world=1), terms


def test_every_term_counts_what_its_formula_divides_by():
    model, task = build()
    labelled = labelled_frames()
    terms, seen = student_pass(model, task, labelled, clips(), target())
    counts = {name: float(term.count) for name, term in terms.items()}
    assert counts == {
        "heat": LABELLED,
        "center": LABELLED,
        "offset": 2 * float(labelled.visible_NK.sum()),
        "coordinate": CLIPS * FRAMES,
        "label_heat": CLIPS * FRAMES,
        "structure": CLIPS,
    }
    assert seen.points_NK2.shape == (CLIPS * FRAMES, POINTS, 2)
    assert not seen.points_NK2.requires_grad


def test_the_teachers_own_source_counts_valid_cells():
    model, task = build()
    _, terms = teacher_loss(model, task, labelled_frames(), clips())
    cells = (CROP_PX // task.stride) ** 2
    # The frame before is shifted by one pixel, so one column of cells holds a pixel that nobody saw.
    seen = CLIPS * (FRAMES - 1) * (1 - (CROP_PX // task.stride) / cells)
    assert float(terms["tracking"].count) == pytest.approx(seen)


def test_nothing_flows_into_a_target():
    model, task = build()
    wanted = target()
    wanted.points_NK2.requires_grad_()
    student_loss(model, task, labelled_frames(), clips(), wanted).backward()
    assert wanted.points_NK2.grad is None


def test_nothing_flows_into_the_rebuilt_frame():
    """The teacher follows the frame that was carried, not the other way round: one graph, one forward."""
    model, task = build()
    shown = []

    def watched(image_N3HW):
        output = model(image_N3HW)
        shown.append(output.heat_SNKhw.requires_grad)
        return output

    loss, _ = teacher_loss(watched, task, labelled_frames(), clips())
    loss.backward()
    assert shown == [True, False]


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("name", DETECTORS)
def test_every_parameter_gets_a_gradient_and_moves(name, role):
    model, task = build(name)
    optim = OptimConfig(lr=1e-3, warmup_steps=1, weight_decay=0.0)
    engine = DDPEngine(model, EngineConfig(), optim, 10, torch.device("cpu"))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    theirs = clips()
    if role == "student":
        loss = student_loss(engine.forward, task, labelled_frames(), theirs, target())
    else:
        loss, _ = teacher_loss(engine.forward, task, labelled_frames(), theirs)
    engine.step(loss)
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not still


def test_an_unlabelled_frame_teaches_nothing_by_itself():
    model, task = build()
    terms, _ = student_pass(model, task, labelled_frames(known=False))
    assert {name: float(term.total.detach()) for name, term in terms.items()} == {
        "heat": 0,
        "center": 0,
        "offset": 0,
    }


def test_an_unlabelled_frame_beside_labelled_ones_changes_no_label_loss():
    model, task = build()
    alone = labelled_frames()
    nobodys = labelled_frames(2, known=False)
    tensors = ("image_NHWC", "points_NK2", "visible_NK", "labelled_N", "face_px_B")
    together = {name: torch.cat([getattr(alone, name), getattr(nobodys, name)]) for name in tensors}
    both = Frames(**together, clip_frames=1)
    torch.testing.assert_close(student_loss(model, task, both), student_loss(model, task, alone))


def test_lessons_change_nothing_of_what_labels_teach_a_net_with_batch_norms():
    """Black frames of clips that could not be read, for one: in one batch they were three quarters of the labels' gradient."""
    taught = []
    for lessons in ([], [Lesson(unlabelled(0 * images(CLIPS * FRAMES), FRAMES), {"teacher": target(0.0)})]):
        torch.manual_seed(0)
        model, task = build("hrnet_w18")
        labelled, apart = labelled_frames(), partial(statistics_kept, model.train())
        found, _ = student_terms(model, OneNet(), labelled, lessons, (TargetHeatmaps(),), task, apart)
        found["heat"].mean().backward()
        norm = model.bn1
        taught.append((norm.weight.grad, norm.running_mean.clone()))
        assert norm.momentum == 0.1
    for alone, beside in zip(*taught, strict=True):
        torch.testing.assert_close(alone, beside)


def test_a_batch_without_any_label_is_finite():
    model, task = build()
    loss = student_loss(model, task, labelled_frames(known=False), clips(), target(weight=0.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())


def test_what_no_source_knows_may_be_anything():
    model, task = build()
    wanted = target(weight=0.0)
    wanted.points_NK2.fill_(torch.nan)
    assert torch.isfinite(student_loss(model, task, labelled_frames(), clips(), wanted))


@pytest.mark.parametrize("term", ["coordinate", "label_heat", "tracking"])
def test_what_unlabelled_frames_teach_has_a_gradient(term):
    model, task = build()
    if term == "tracking":
        _, terms = teacher_loss(model, task, labelled_frames(), clips())
    else:
        terms, _ = student_pass(model, task, labelled_frames(), clips(), target())
    terms[term].mean().backward()
    moved = [float(value.grad.norm()) for value in model.parameters() if value.grad is not None]
    assert sum(moved) > 0


def test_what_is_taught_falls_when_it_is_followed():
    """A few steps towards the pseudo-labels bring the student's points nearer to them."""
    model, task = build()
    optim = OptimConfig(lr=2e-3, warmup_steps=0, schedule="constant")
    engine = DDPEngine(model, EngineConfig(), optim, 100, torch.device("cpu"))
    theirs, wanted, nobodys = clips(), target(), labelled_frames(known=False)
    losses = []
    for _ in range(12):
        loss = student_loss(engine.forward, task, nobodys, theirs, wanted)
        losses.append(float(loss.detach()))
        engine.step(loss)
    assert losses[-1] < 0.8 * losses[0]


def test_shares_of_a_batch_add_up_to_the_batch():
    """Two ranks, each with half: the mean of their gradients is the gradient of the whole."""
    model, task = build()
    whole, theirs, wanted = labelled_frames(4), clips(), target(0.7)

    student_loss(model, task, whole, theirs, wanted).backward()
    expected = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    shares = []
    for rank in range(2):
        mine = [part.piece(rank, 2) for part in (whole, theirs, wanted)]
        shares.append(student_pass(model, task, *mine)[0])
    counts = {name: sum(terms[name].count for terms in shares) for name in shares[0]}
    for terms in shares:
        (total_loss(terms, counts, term_weights(TERMS, LATE, LossConfig()), world=2) / 2).backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad, expected[name], rtol=1e-3, atol=1e-3, msg=name)


def test_a_clip_costs_a_third_of_the_originals_forwards():
    """Every frame a detector looks at, over one cycle of both roles, per clip and model."""
    model, task = build()
    looked = {"student": 0, "teacher": 0}

    def counting(role):
        def forward(image_N3HW):
            looked[role] += len(image_N3HW)
            return model(image_N3HW)

        return forward

    theirs, tracker = clips(), ShiftTracker(1.0, 0.0)
    sources = [Source(name, reading=name) for name in ("heatmap", "center", "track")]
    panel = {"teacher": counting("teacher")}
    label(panel, tracker, theirs, sources, stride=4, radius=4, limits=Limits(1.5, 5.0))
    teacher_loss(counting("teacher"), task, labelled_frames(), theirs)
    student_loss(counting("student"), task, labelled_frames(), theirs, target())
    own = CLIPS * FRAMES + LABELLED
    assert looked == {"student": own, "teacher": CLIPS * FRAMES + own + CLIPS * (FRAMES - 1)}
    assert max(looked.values()) / CLIPS <= ORIGINAL_FORWARDS / 3


def test_weights_follow_the_method_and_the_ramp():
    terms = (TargetHeatmaps(0.25), TargetCoordinates(0.5), Structure(0.01))
    young = Progress(step=0, burn_in_steps=0, steps=100, unlabelled=2.0, ramp_up=0.5)
    assert term_weights(terms, young, LossConfig())["structure"] == 0
    weights = term_weights(terms, Progress(10, 0, 100, unlabelled=1.5), LossConfig())
    assert (weights["coordinate"], weights["label_heat"], weights["structure"]) == (0.75, 0.375, 0.01)
    assert np.isclose(weights["heat"], 1.0)


def test_a_teacher_without_an_agreement_keeps_the_constraint_on_sizes():
    lessons = RebuiltFrames(build()[1], tracking=0.0, structure=0.02)
    assert lessons.weights(LATE) == {"tracking": 0.0, "structure": 0.02}
    assert lessons.weights(replace(LATE, step=0, burn_in_steps=5))["structure"] == 0, (
        "not before burn-in ends"
    )


def test_pieces_of_a_batch_learn_what_the_batch_does():
    """One step in two pieces, added up by the engine: the weights of one step over the whole."""
    whole, theirs, wanted = labelled_frames(4), clips(), target(0.7)
    whole.visible_NK.fill_(True)  # a mean of means is the mean where both halves count equally many points
    stepped = []
    for pieces in (1, 2):
        torch.manual_seed(1)
        model, task = build()
        settings, optim = EngineConfig(accumulate=pieces), OptimConfig(name="sgd", lr=1e-3, warmup_steps=0)
        engine = DDPEngine(model, settings, optim, 10, torch.device("cpu"))
        for place in range(pieces):
            part = student_loss(
                engine.forward,
                task,
                whole.piece(place, pieces),
                theirs.piece(place, pieces),
                wanted.piece(place, pieces),
            )
            engine.step(part)
        assert engine.steps == 1
        stepped.append(engine.full_weights())
    for name, value in stepped[0].items():
        torch.testing.assert_close(stepped[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_term_that_learns_from_what_nobody_gives_is_said():
    model, task = build()
    lessons = [Lesson(clips(), {"teacher": target(), "reviewer": target()})]
    terms = (TargetHeatmaps(target="critic"),)
    with pytest.raises(ConfigError, match="'critic', and the method's labeller gives teacher, reviewer"):
        student_terms(model, OneNet(), labelled_frames(), lessons, terms, task)


def test_soft_maps_of_another_size_are_said():
    model, task = build()
    wanted = replace(target(), heat_NKhw=torch.zeros(CLIPS * FRAMES, POINTS, 4, 4))
    with pytest.raises(ConfigError, match=r"soft maps of \(4, 4\) cells, and the student's have \(8, 8\)"):
        student_pass(model, task, labelled_frames(), clips(), wanted)
