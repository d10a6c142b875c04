"""Elastic averaging's student half: pulled towards the newest teacher, by its share, or left alone."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig
from tsal_dist.engine.ddp import DDPEngine
from tsal_dist.roles.elastic import Elastic
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.format import save_version


def net(value):
    model = nn.Linear(2, 1)
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def engine(value):
    return DDPEngine(net(value), EngineConfig(), OptimConfig(), 10, torch.device("cpu"))


@pytest.mark.parametrize("keep", [0.0, 0.6, 1.0])
def test_the_student_keeps_its_share(tmp_path, keep):
    save_version(tmp_path, 5, net(0.0).state_dict(), "tsal")
    save_version(tmp_path, 10, net(1.0).state_dict(), "tsal")
    student = engine(3.0)
    assert Elastic(WeightReader(tmp_path), keep, rank=0).pull(student)
    expected = keep * 3.0 + (1 - keep) * 1.0
    assert student.model.weight[0, 0].item() == pytest.approx(expected)


def test_without_a_teacher_the_student_is_left_alone(tmp_path):
    student = engine(3.0)
    assert not Elastic(WeightReader(tmp_path), 0.6, rank=0).pull(student)
    assert torch.equal(student.model.weight, net(3.0).weight)


def test_asking_for_the_weights_to_publish_changes_nothing(tmp_path):
    """The pull has its place in the loop: before the weights are asked for."""
    from tsal_dist.roles.student import Student

    save_version(tmp_path, 5, net(0.0).state_dict(), "tsal")
    student = object.__new__(Student)
    student.engine, student.average = engine(3.0), None
    student.elastic = Elastic(WeightReader(tmp_path), 0.5, rank=0)
    student.config = SimpleNamespace(train=SimpleNamespace(burn_in_steps=-1))
    assert student.weights_to_publish()["weight"][0, 0] == 3.0
    student.be_pulled_back()
    assert student.weights_to_publish()["weight"][0, 0] == 1.5
