"""What a teacher takes over from the student's versions."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.roles.painted import POINTS, STRIDE, ColourDetector, ShiftTracker, build_clip, grid_points
from tsal_dist.config import load_config
from tsal_dist.errors import CheckpointError
from tsal_dist.recipes.api import Member, OneNet, Recipe, Source
from tsal_dist.recipes.averaging import RecursiveAverage
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.roles.teacher import Teacher

BURN_IN = 10


def net(value):
    linear = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(linear.weight, value)
    return linear


def teacher_at(version, own=100.0):
    """One that only absorbs."""
    model = net(own)
    unused = dict.fromkeys(("task", "tracker", "labelled", "study", "clips", "producer", "gate"))
    return Teacher(
        config=SimpleNamespace(train=SimpleNamespace(burn_in_steps=BURN_IN)),
        recipe=SimpleNamespace(
            learn=None,
            student=OneNet(),
            panel={"teacher": Member(RecursiveAverage(keep=0.75, queue=4))},
        ),
        rank=0,
        world=1,
        engine=SimpleNamespace(model=model),
        panel={"teacher": model},
        version=version,
        **unused,
    )


@pytest.mark.parametrize(
    ("version", "step", "expected"),
    [(4, 8, 2.0), (12, 16, 75.5), (-1, 16, 2.0)],
    ids=["burn-in", "afterwards", "comes late"],
)
def test_it_becomes_its_first_version_and_averages_later_ones(version, step, expected):
    teacher = teacher_at(version)
    teacher.absorb(step, net(2.0).state_dict())
    assert teacher.engine.model.weight.item() == pytest.approx(expected)
    assert teacher.version == step


def labels_of(label_batch, clips=5):
    """The rows that a teacher publishes of painted clips, and how many frames it looked at in each pass."""
    points_TK2 = np.stack([grid_points(np.array([2.0, -1.0]) * t) for t in range(4)])
    published, passes = [], []
    detector = ColourDetector()

    def look(image_N3HW):
        passes.append(len(image_N3HW))
        return detector(image_N3HW)

    teacher = teacher_at(12)
    teacher.config = load_config([], [f"runtime.label_batch={label_batch}", f"model.num_points={POINTS}"])
    teacher.recipe = SimpleNamespace(sources=(Source("heatmap"), Source("track", "track")))
    teacher.eyes = {"teacher": look}
    teacher.task = SimpleNamespace(stride=STRIDE, radius=4, mirror_K=None)
    teacher.tracker = ShiftTracker(2.0, -1.0)
    teacher.clips = iter([[build_clip(points_TK2)] * clips])
    teacher.producer = SimpleNamespace(publish=lambda rows, version: published.append(rows))
    assert teacher.label() == 4 * clips
    return published[0], passes


def test_a_segment_is_labelled_in_passes_of_bounded_size():
    whole, once = labels_of(64)
    parts, several = labels_of(9)  # whole clips of four frames
    assert (once, several) == ([20], [8, 8, 4])
    for source in ("heatmap", "track"):
        np.testing.assert_array_equal(whole.xy_NK2[source], parts.xy_NK2[source])
        np.testing.assert_array_equal(whole.score_NK[source], parts.score_NK[source])


def test_the_panel_looks_under_the_engines_precision():
    """The engine's own net by the engine, every other as the engine would."""
    teacher = teacher_at(12)
    teacher.config = load_config([], ["runtime.teacher.precision=bfloat16"])
    own, other = teacher.panel["teacher"], net(1.0)
    teacher.engine = SimpleNamespace(model=own, infer="the engine's own")
    teacher.panel = {"teacher": own, "second": other}
    assert teacher.eyes["teacher"] == "the engine's own"
    assert teacher.eyes["second"](torch.ones(1, 1)).dtype == torch.bfloat16


class CountsCalls:
    """A choice that remembers how often it was asked."""

    calls = 0

    def __call__(self, notes):
        self.calls += 1
        return notes

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def with_panel(*names):
    """A teacher of these nets, the first of which is the engine's."""
    teacher = teacher_at(12)
    teacher.panel = {name: net(float(place)) for place, name in enumerate(names)}
    kept = {"state_dict": dict, "load_state_dict": lambda state: None}
    teacher.engine = SimpleNamespace(model=teacher.panel[names[0]], **kept)
    teacher.recipe = Recipe(
        label=Plain(lambda evidence: None),
        sources=(),
        terms=(),
        panel={name: Member(Newest()) for name in names},
        choose=CountsCalls(),
    )
    for part in ("gate", "labelled", "study", "clips"):
        setattr(teacher, part, SimpleNamespace(**kept))
    return teacher


def test_a_panel_comes_back():
    kept = with_panel("teacher", "reviewer")
    again = with_panel("teacher", "reviewer")
    torch.nn.init.constant_(kept.panel["reviewer"].weight, 7.0)
    kept.recipe.choose({})
    assert "choose" not in kept.recipe.student_state(), "it is the teacher's"
    again.load_state_dict(kept.state_dict())
    assert again.panel["reviewer"].weight.item() == 7.0
    assert again.recipe.choose.calls == 1


@pytest.mark.parametrize("other", [("teacher",), ("teacher", "second"), ("reviewer", "teacher")])
def test_the_checkpoint_of_another_panel_is_refused(other):
    kept = with_panel("teacher", "reviewer").state_dict()
    words = f"has a panel of teacher, reviewer, and this method's is of {', '.join(other)}. It is of another"
    with pytest.raises(CheckpointError, match=re.escape(words)):
        with_panel(*other).load_state_dict(kept)
