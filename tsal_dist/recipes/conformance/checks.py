"""What holds of every method. A check raises AssertionError, with a sentence, where it does not."""

from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tsal_dist.config.method import ALONE
from tsal_dist.config.train import LossConfig
from tsal_dist.errors import CheckpointError, ConfigError
from tsal_dist.models.input import normalize
from tsal_dist.pseudo.schema import check_columns, labels_schema
from tsal_dist.recipes.api import Lesson, Progress, Recipe, Terms
from tsal_dist.recipes.conformance.sameness import equal
from tsal_dist.recipes.conformance.trial import CLIPS, CROP_PX, FRAMES, POINTS, WATCHED, Trial, watch
from tsal_dist.recipes.find import find_method
from tsal_dist.recipes.steps import (
    make_targets,
    student_terms,
    supervised_weights,
    term_weights,
    total_loss,
)
from tsal_dist.recipes.students import part_of
from tsal_dist.recipes.target import named
from tsal_dist.runs.build import source_columns

LATE = Progress(step=9, burn_in_steps=0, steps=10)
NEVER = Progress(step=9, burn_in_steps=0, steps=10, unlabelled=0.0)
SAVED_AFTER, VERSIONS = 13, 24
"""Versions that a net of the panel has taken when it is saved, and in all: enough for a slow one to take another."""


def check_a_key_that_it_does_not_have_is_refused(trial: Trial) -> None:
    with pytest.raises(ConfigError, match="no_such_setting"):
        find_method(trial.name).read({**trial.settings, "no_such_setting": 1})


def check_labels_are_finite_bounded_and_always_the_same(trial: Trial) -> None:
    pseudo = trial.pseudo()
    first, again = (named(trial.recipe().label(pseudo.evidence)) for _ in range(2))
    for name, target in first.items():
        counts = target.weight_NK > 0
        assert target.points_NK2.shape == (CLIPS * FRAMES, POINTS, 2), (
            f"{name}: a point for each landmark of each frame"
        )
        assert bool(((target.weight_NK >= 0) & (target.weight_NK <= 1)).all()), (
            f"{name}: weights lie in [0, 1]"
        )
        assert bool(target.points_NK2[counts].isfinite().all()), f"{name}: a point that counts is a place"
        assert torch.equal(target.weight_NK, again[name].weight_NK), (
            f"{name}: the same evidence, the same weights"
        )
        assert torch.equal(target.points_NK2[counts], again[name].points_NK2[counts]), (
            f"{name}: and the same points"
        )


def check_what_could_not_be_read_teaches_nothing(trial: Trial) -> None:
    recipe, pseudo = trial.recipe(), trial.pseudo(fresh=0.0)
    assert not bool(pseudo.evidence.valid_NSK.any())
    for name, target in make_targets(recipe.label, pseudo.evidence, pseudo.frames).items():
        assert float(target.weight_NK.sum()) == 0, f"{name}: a black picture teaches"


def check_a_truth_comes_before_what_a_teacher_says(trial: Trial) -> None:
    recipe, pseudo = trial.recipe(), trial.pseudo()
    truth = torch.full_like(pseudo.frames.points_NK2, 20.0)
    seen = torch.ones_like(pseudo.frames.visible_NK)
    frames = replace(pseudo.frames, points_NK2=truth, visible_NK=seen, labelled_N=seen.all(1))
    for name, target in make_targets(recipe.label, pseudo.evidence, frames).items():
        assert torch.equal(target.points_NK2, truth), f"{name}: a label is outvoted"
        assert bool((target.weight_NK == 1).all()), f"{name}: a label counts in full"


def check_a_row_has_the_columns_and_bytes_that_are_declared(trial: Trial) -> None:
    recipe, columns = trial.recipe(), trial.rows.columns()
    schema = labels_schema(POINTS, [source_columns(source) for source in recipe.sources], unit=FRAMES)
    stamps = {"teacher_step": np.int64, "teacher_rank": np.int16, "t_ns": np.int64}
    stamped = columns | {name: np.zeros(len(trial.rows), kind) for name, kind in stamps.items()}
    assert check_columns(schema, stamped) == CLIPS * FRAMES
    own = [
        np.asarray(column)
        for name, column in columns.items()
        for source in recipe.sources
        if name.startswith(f"{source.name}_") and not name.endswith("_valid")
    ]
    stored = sum(column.nbytes for column in own) / len(trial.rows)
    assert stored == recipe.bytes_per_label(POINTS), (
        f"{stored} bytes, {recipe.bytes_per_label(POINTS)} declared"
    )


def check_everything_that_should_learn_moves_and_nothing_else(trial: Trial) -> None:
    recipe = trial.recipe()
    net = trial.student(recipe)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    _loss(trial, recipe, net, trial.lessons(recipe)).backward()  # type: ignore[no-untyped-call]
    gone = [name for name, value in net.named_parameters() if value.grad is None]
    assert not gone, f"no gradient reaches {gone[:3]}: DDP would wait for it for ever"
    odd = [name for name, value in net.named_parameters() if not bool(_grad(value).isfinite().all())]
    assert not odd, f"the gradient of {odd[:3]} is not finite"
    optimizer.step()
    still = [name for name, value in net.named_parameters() if torch.equal(value, before[name])]
    assert not still, f"{still[:3]} did not move"


def check_a_step_on_labels_alone_gives_every_weight_a_gradient(trial: Trial) -> None:
    """As in burn-in, and whenever labels are missing: of 0, where only a lesson would teach it."""
    recipe = trial.recipe()
    net = trial.student(recipe)
    _loss(trial, recipe, net, []).backward()  # type: ignore[no-untyped-call]
    gone = [name for name, value in net.named_parameters() if value.grad is None]
    assert not gone, f"no gradient reaches {gone[:3]} without a lesson: DDP would wait for it for ever"


def check_a_label_that_all_sources_are_sure_of_counts(trial: Trial) -> None:
    """But for a method without terms, to which no label means anything."""
    recipe = trial.recipe()
    if not recipe.terms:
        return
    weights = [target.weight_NK for target in trial.lesson(recipe).targets.values()]
    assert any(bool((weight_NK > 0).any()) for weight_NK in weights), (
        f"all sources say the same with scores near 0.9, {WATCHED} times over, and no point of any target counts"
    )


def check_without_weight_it_is_supervised(trial: Trial) -> None:
    """To the detector the gradient is that of `supervised` on the same weights, lessons or not.

    A student of several nets has one sum of terms over all of them, so each net gets its part of that gradient.
    """
    recipe, alone = trial.recipe(), find_method(ALONE).build({}, trial.task)
    weights = term_weights(recipe.terms, NEVER, LossConfig())
    assert {name for name, weight in weights.items() if weight} <= set(supervised_weights(LossConfig()))
    net = trial.student(recipe)
    plain = trial.student(alone)
    plain.load_state_dict(part_of(net.state_dict(), recipe.student.detector))
    _loss(trial, alone, plain, [], NEVER).backward()  # type: ignore[no-untyped-call]
    nets = len(recipe.student.outputs(net(normalize(trial.labelled.image_NHWC))))
    for lessons in (trial.lessons(recipe), []):
        net.zero_grad()
        _loss(trial, recipe, net, lessons, NEVER).backward()  # type: ignore[no-untyped-call]
        own = dict(net.named_parameters())
        for name, value in plain.named_parameters():
            grad = nets * _grad(own[recipe.student.detector + name])
            told = f"{name}: its gradient is not that of {ALONE}"
            torch.testing.assert_close(grad, _grad(value), rtol=1e-4, atol=1e-5, msg=told)


def check_two_processes_take_the_step_of_one(trial: Trial) -> None:
    """But for the mix, which may look at the whole batch of its process."""
    recipe = trial.recipe()
    net = trial.student(recipe)
    lesson = trial.lesson(recipe)
    weights = term_weights(recipe.terms, LATE, LossConfig())
    _loss(trial, recipe, net, [lesson]).backward()  # type: ignore[no-untyped-call]
    whole = {name: _grad(value).clone() for name, value in net.named_parameters()}
    net.zero_grad()
    shares = []
    for place in range(2):
        half = Lesson(
            lesson.frames.piece(place, 2),
            {name: target.piece(place, 2) for name, target in lesson.targets.items()},
        )
        shares.append(_terms(trial, recipe, net, [half], place))
    counts = {name: torch.stack([terms[name].count for terms in shares]).sum() for name in shares[0]}
    for terms in shares:
        (total_loss(terms, counts, weights, world=2) / 2).backward()  # type: ignore[no-untyped-call]
    for name, value in net.named_parameters():
        torch.testing.assert_close(_grad(value), whole[name], rtol=2e-3, atol=2e-3, msg=name)


def check_a_mix_is_drawn_from_the_chance_it_is_given(trial: Trial) -> None:
    recipe = trial.recipe()
    given = trial.lesson(recipe)
    before = deepcopy(given)
    first = recipe.mix(given, np.random.default_rng(5))
    assert equal(_told(given), _told(before)), "what came in was painted over, or its targets were changed"
    again = trial.recipe().mix(before, np.random.default_rng(5))
    assert len(first) == len(again) >= 1
    for one, other in zip(first, again, strict=True):
        assert equal(_told(one), _told(other)), "the same chance, the same pictures and targets"
        assert one.frames.image_NHWC.dtype == torch.uint8
        for name, target in one.targets.items():
            counts = target.weight_NK > 0
            inside = ((target.points_NK2 >= -0.5) & (target.points_NK2 <= CROP_PX - 0.5)).all(-1)
            absent = torch.zeros_like(counts) if target.absent_NK is None else target.absent_NK
            assert bool((inside | ~counts | absent).all()), f"{name}: a point outside of the crop counts"


def check_what_the_student_remembers_comes_back(trial: Trial) -> None:
    """All its parts: what they make of the next batch is the same to the bit."""
    learnt, resumed = trial.recipe(), trial.recipe()
    net, other = trial.student(learnt), trial.student(resumed)
    watch(learnt, trial.agreed(seed=3).evidence, WATCHED)  # others than those that come after the resume
    for step in range(3):
        _live(trial, learnt, net, step)
    resumed.load_student_state(deepcopy(learnt.student_state()))
    other.load_state_dict(net.state_dict())
    assert equal(resumed.student_state(), learnt.student_state()), "what was loaded is not what was saved"
    one, again = (_live(trial, recipe, at, 3) for recipe, at in ((learnt, net), (resumed, other)))
    for part, value in one.items():
        assert equal(value, again[part]), f"{part}: a resumed student goes on in another way"


def check_what_the_panel_remembers_comes_back(trial: Trial) -> None:
    """Each net of it, saved between two versions, becomes of the next ones what it would have become."""
    learnt, resumed = trial.recipe(), trial.recipe()
    published = trial.student(learnt).state_dict()
    for name, member in learnt.panel.items():
        weights = part_of(published, member.part or learnt.student.detector)
        versions = [{key: value + 0.01 * age for key, value in weights.items()} for age in range(VERSIONS)]
        net, follow, extra = trial.panel_net(learnt, name), resumed.panel[name].follow, learnt.extra()
        member.follow.follow(net, versions[0], extra)
        for version in versions[1:SAVED_AFTER]:
            member.follow.absorb(net, version, extra)
        other = deepcopy(net)
        follow.load_state_dict(deepcopy(dict(member.follow.state_dict())))
        assert equal(dict(follow.state_dict()), dict(member.follow.state_dict())), (
            f"{name}: not what was saved"
        )
        for version in versions[SAVED_AFTER:]:
            member.follow.absorb(net, version, extra)
            follow.absorb(other, version, extra)
            assert equal(dict(other.state_dict()), dict(net.state_dict())), (
                f"{name}: resumed, it follows in another way"
            )


def check_what_the_teachers_parts_remember_comes_back(trial: Trial) -> None:
    """Those beside its nets: of what is noted of clips a resumed one makes the same."""
    learnt, resumed = trial.recipe(), trial.recipe()
    for time in range(3):
        learnt.choose({clip: float(clip + time) for clip in range(4)})
    resumed.load_teacher_state(deepcopy(learnt.teacher_state()))
    assert equal(resumed.teacher_state(), learnt.teacher_state()), "what was loaded is not what was saved"
    noted = {0: 0.5, 1: 2.0, 2: 1.0}
    assert dict(resumed.choose(noted)) == dict(learnt.choose(noted)), "choose: resumed, it chooses otherwise"


def check_the_memory_of_another_method_is_refused(trial: Trial) -> None:
    recipe = trial.recipe()
    with pytest.raises(CheckpointError, match="of another method"):
        recipe.load_student_state({**recipe.student_state(), "of another method": {}})


def check_bfloat16_is_finite(trial: Trial) -> None:
    recipe = trial.recipe()
    net = trial.student(recipe)
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(trial, recipe, net, trial.lessons(recipe))
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(loss.isfinite())
    assert all(bool(_grad(value).isfinite().all()) for value in net.parameters())


def check_weights_are_as_they_were_once_a_step_is_about_to_come(trial: Trial) -> None:
    recipe = trial.recipe()
    net = trial.student(recipe)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with ExitStack() as around:
        around.enter_context(recipe.around(net))
        _loss(trial, recipe, net, trial.lessons(recipe)).backward()  # type: ignore[no-untyped-call]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def _live(trial: Trial, recipe: Recipe, net: nn.Module, step: int) -> dict[str, object]:
    """What the student's parts do in one step, the update left out."""
    pseudo = trial.agreed()
    watch(recipe, pseudo.evidence, 1)
    given = Lesson(pseudo.frames, make_targets(recipe.label, pseudo.evidence, pseudo.frames))
    lessons = list(recipe.mix(given, np.random.default_rng(step)))
    with torch.no_grad(), recipe.around(net):
        terms = _terms(trial, recipe, net, lessons)
    recipe.after(net, step)
    return {
        "label": _told(given),
        "mix": [_told(lesson) for lesson in lessons],
        "terms": {name: (term.total, term.count) for name, term in terms.items()},
        "after": dict(net.state_dict()),
        "extra": dict(recipe.extra()),
    }


def _told(lesson: Lesson) -> dict[str, object]:
    """All that a lesson holds."""
    return {"frames": asdict(lesson.frames)} | {name: asdict(each) for name, each in lesson.targets.items()}


def _grad(value: Tensor) -> Tensor:
    assert value.grad is not None, "asked for after backward"
    return value.grad


def _terms(
    trial: Trial, recipe: Recipe, net: nn.Module, lessons: list[Lesson], place: int | None = None
) -> Terms:
    labelled = trial.labelled if place is None else trial.labelled.piece(place, 2)
    return student_terms(net, recipe.student, labelled, lessons, recipe.terms, trial.task)[0]


def _loss(
    trial: Trial, recipe: Recipe, net: nn.Module, lessons: list[Lesson], progress: Progress = LATE
) -> Tensor:
    terms = _terms(trial, recipe, net, lessons)
    counts = {name: term.count for name, term in terms.items()}
    return total_loss(terms, counts, term_weights(recipe.terms, progress, LossConfig()), world=1)


CHECKS = [check for name, check in globals().items() if name.startswith("check_") and name != "check_columns"]
"""All of them, in their order."""
