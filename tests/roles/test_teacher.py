"""What a teacher takes over from the student's versions."""

from types import SimpleNamespace

import pytest
import torch

from tsal_dist.recipes.api import Member, OneNet
from tsal_dist.recipes.averaging import RecursiveAverage
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
