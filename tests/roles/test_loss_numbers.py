"""What a role writes down of its loss: the total is what its terms come to, on however many ranks."""

from types import SimpleNamespace

import pytest
import torch

from tsal_dist.config.train import LossConfig
from tsal_dist.losses.term import Term
from tsal_dist.recipes.steps import total_loss
from tsal_dist.roles import teacher
from tsal_dist.roles.student import Student
from tsal_dist.roles.teacher import Teacher

MEAN = 3.0


def terms():
    """One rank's; every rank has the same."""
    return {"heat": Term(torch.tensor(2 * MEAN), torch.tensor(2.0))}


class NoLessons:
    """A teacher that learns from labels alone."""

    def __call__(self, study):
        return None, {}

    def weights(self, progress):
        return {}


def counts_of_all(values, world):
    return {name: value * world for name, value in values.items()}


@pytest.mark.parametrize("world", [1, 2])
def test_a_students_total_is_what_its_terms_come_to(world):
    counts = counts_of_all({name: term.count for name, term in terms().items()}, world)
    loss = total_loss(terms(), counts, {"heat": 1.0}, world)
    student = SimpleNamespace(
        numbers_due=True, engine=SimpleNamespace(lr=0.1), feed=None, world=world, metrics={}
    )
    Student._measure(student, terms(), loss, None, None, None, None, None)
    assert student.metrics["loss/total"] == student.metrics["loss/heat"] == MEAN


@pytest.mark.parametrize("world", [1, 2])
def test_and_so_is_a_teachers(world, monkeypatch):
    monkeypatch.setattr(
        teacher, "stack_frames", lambda clips, device: SimpleNamespace(piece=lambda *at: clips)
    )
    monkeypatch.setattr(teacher, "supervised_terms", lambda *given: terms())
    monkeypatch.setattr(teacher, "sum_tensors", lambda values: counts_of_all(values, world))
    net = torch.nn.Linear(1, 1)
    engine = SimpleNamespace(model=net, forward=net, infer=net, step=lambda loss: None, lr=0.1)
    runtime = SimpleNamespace(teacher=SimpleNamespace(accumulate=1))
    role = SimpleNamespace(
        config=SimpleNamespace(train=SimpleNamespace(loss=LossConfig()), runtime=runtime),
        engine=engine,
        world=world,
        task=None,
        tracker=None,
        progress=None,
        metrics={},
        labelled=iter([[]]),
        study=iter([[]]),
    )
    Teacher._learn(role, NoLessons())
    assert role.metrics["loss/total"] == role.metrics["loss/heat"] == MEAN
