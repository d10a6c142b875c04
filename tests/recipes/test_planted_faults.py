"""The suite of methods finds what it looks for: a method with one fault in it fails the check of that fault."""

from dataclasses import dataclass, replace

import pytest
import torch

from tsal_dist.recipes.api import Lesson, Member, OneNet, Recipe
from tsal_dist.recipes.averaging import RecursiveAverage
from tsal_dist.recipes.conformance import checks, training
from tsal_dist.recipes.conformance.short_runs import ShortRuns, World
from tsal_dist.recipes.conformance.trial import Trial
from tsal_dist.recipes.following import Snapshot
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.target import Target
from tsal_dist.recipes.terms import TargetHeatmaps


@dataclass(frozen=True)
class Faulty(Trial):
    """A method whose parts somebody has changed."""

    change: object

    def recipe(self) -> Recipe:
        return self.change(super().recipe())


class Forgetful:
    """A labeller whose memory is not saved; one whose memory is not loaded."""

    def __init__(self, label, saves):
        self._label, self._saves = label, saves
        self.moments, self.observe = label.moments, label.observe

    def __call__(self, evidence):
        return self._label(evidence)

    def state_dict(self):
        return self._label.state_dict() if self._saves else {}

    def load_state_dict(self, state):
        """It goes nowhere."""


class CountedTerm:
    """A term that grows with the times it was asked, and does not say so."""

    name = "label_heat"

    def __init__(self):
        self._asked, self._whole = 0, TargetHeatmaps()

    def weight(self, progress):
        return self._whole.weight(progress)

    def __call__(self, seen):
        self._asked += 1
        return replace(self._whole(seen), total=self._whole(seen).total * self._asked)


class CountedMix:
    """A mix that shows something else every time, whatever the chance."""

    def __init__(self):
        self._asked = 0

    def __call__(self, lesson, rng):
        self._asked += 1
        image = lesson.frames.image_NHWC.roll(self._asked, 1)
        return (Lesson(replace(lesson.frames, image_NHWC=image), lesson.targets),)


class ForgetfulSnapshot(Snapshot):
    def load_state_dict(self, state):
        """It goes nowhere."""


class ForgetfulAverage(RecursiveAverage):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        """There is nothing."""


class Grown:
    """Moves the student a little after each step, and more each time."""

    def __init__(self):
        self._times = 0

    def __call__(self, net, step):
        self._times += 1
        with torch.no_grad():
            for value in net.parameters():
                value.add_(0.001 * self._times)


class Weary:
    """Wants a clip less with each time that it is asked, and does not say so."""

    def __init__(self):
        self._times = 0

    def __call__(self, noted):
        self._times += 1
        return {clip: value / self._times for clip, value in noted.items()}


def painted_over(lesson, rng):
    lesson.frames.image_NHWC[:, :8] = 0
    return (lesson,)


def weighed_down(lesson, rng):
    for target in lesson.targets.values():
        target.weight_NK.mul_(0.5)
    return (lesson,)


class WithIdleLayer(torch.nn.Module):
    """A detector, and a layer that nothing is computed with."""

    def __init__(self, net):
        super().__init__()
        self.net, self.idle = net, torch.nn.Linear(1, 1)

    def forward(self, image_N3HW):
        return self.net(image_N3HW)


class Idle(OneNet):
    detector = "net."

    def build(self, make):
        return WithIdleLayer(make())


def never(evidence):
    points_NK2 = evidence.points_NSK2[:, 0]
    return Target(points_NK2, torch.zeros_like(points_NK2[..., 0]))


def only_the_labels_in_half(recipe):
    """With its terms at weight 0 it still changes what the labels teach: each net's maps are halved."""
    whole = recipe.student.outputs

    class Halved(type(recipe.student)):
        def outputs(self, given):
            return [
                each._replace(maps=type(each.maps)(*(part / 2 for part in each.maps)))
                for each in whole(given)
            ]

    return replace(recipe, student=Halved())


def with_member(follow):
    return lambda recipe: replace(recipe, panel={"teacher": Member(follow())})


MIX, STUDENT, PANEL = (
    checks.check_a_mix_is_drawn_from_the_chance_it_is_given,
    checks.check_what_the_student_remembers_comes_back,
    checks.check_what_the_panel_remembers_comes_back,
)


@pytest.mark.parametrize(
    ("check", "change", "words"),
    [
        (MIX, lambda made: replace(made, mix=painted_over), "painted over"),
        (MIX, lambda made: replace(made, mix=weighed_down), "targets were changed"),
        (STUDENT, lambda made: replace(made, label=Forgetful(made.label, True)), "not what was saved"),
        (STUDENT, lambda made: replace(made, label=Forgetful(made.label, False)), "label: a resumed student"),
        (STUDENT, lambda made: replace(made, mix=CountedMix()), "mix: a resumed student"),
        (STUDENT, lambda made: replace(made, terms=(CountedTerm(),)), "terms: a resumed student"),
        (STUDENT, lambda made: replace(made, after=Grown()), "after: a resumed student"),
        (PANEL, with_member(lambda: ForgetfulSnapshot(10)), "not what was saved"),
        (PANEL, with_member(lambda: ForgetfulAverage(0.7, 4)), "it follows in another way"),
        (
            checks.check_what_the_teachers_parts_remember_comes_back,
            lambda made: replace(made, choose=Weary()),
            "it chooses otherwise",
        ),
        (
            checks.check_a_step_on_labels_alone_gives_every_weight_a_gradient,
            lambda made: replace(made, student=Idle()),
            "no gradient reaches",
        ),
        (
            checks.check_a_label_that_all_sources_are_sure_of_counts,
            lambda made: replace(made, label=Plain(never)),
            "no point of any target counts",
        ),
        (
            checks.check_without_weight_it_is_supervised,
            only_the_labels_in_half,
            "gradient is not that of supervised",
        ),
    ],
)
def test_a_planted_fault_is_found(check, change, words):
    check(Faulty("mean_teacher", {}, lambda made: made))
    with pytest.raises(AssertionError, match=words):
        check(Faulty("mean_teacher", {}, change))


METHOD = """
from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    pass


def recipe(settings: Settings, task: Task) -> Recipe:
    batches = []

    def label(evidence: Evidence) -> Target:
        batches.append(1)
        weight_NK = evidence.valid_NSK[:, 0].float()
        weight_NK {fault}
        return Target(evidence.points_NSK2[:, 0], weight_NK)

    return Recipe(
        label=Plain(label), sources=(Source("heatmap"),), terms=(TargetHeatmaps(),), panel={{"teacher": Member(Newest())}}
    )
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("short-runs"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "fault", "words"),
    [
        (training.check_some_label_counts_in_a_run, "*= 0", "no pseudo-label counted"),
        (training.check_a_killed_run_goes_on_to_the_bit, "/= len(batches)", "student: average"),
        (
            training.check_two_processes_take_the_steps_of_one,
            "[len(weight_NK) // 2 :] = 0",
            "take other steps",
        ),
    ],
    ids=["no label counts", "a memory that is not saved", "half of what a process is given"],
)
def test_a_fault_of_training_is_found(world, tmp_path, monkeypatch, check, fault, words):
    monkeypatch.setattr(training, "SEEDS", training.SEEDS[:1])  # it would ask others for nothing
    page = tmp_path / f"{check.__name__}.py"
    page.write_text(METHOD.format(fault=fault))
    with pytest.raises(AssertionError, match=words):
        check(ShortRuns(Trial(f"{page}:recipe", {}), world))


@pytest.mark.slow
def test_a_run_that_ends_otherwise_is_told_with_what_it_said(world):
    runs = ShortRuns(Trial("mean_teacher", {}), world)
    with pytest.raises(AssertionError, match=r"exit codes \[2\] instead of \[0\](.|\n)*train.stepps"):
        runs.train("misspelt", "train.stepps=3")
