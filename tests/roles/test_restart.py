"""A student that begins again from its average when burn-in ends."""

from types import SimpleNamespace

import pytest

from tests.engine.tiny import OPTIM, build_batch, build_ddp, same, take_step
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.roles.student import Student

SHARDS = ("data.labelled=shards/a", "data.unlabelled=shards/a", "data.validation=")


def end_burn_in(restart_at):
    """The engine and the average of a student whose burn-in has ended after five steps."""
    engine = build_ddp("batch")
    average = StepAverage(engine.model, 0.9)
    for step in range(5):
        take_step(engine, build_batch(step))
        average.update(engine.model)
    before = engine.full_weights()
    config = SimpleNamespace(restart_at=restart_at, train=SimpleNamespace(optim=OPTIM))
    kept = {name: value.clone() for name, value in average.tensors.items()}
    Student.end_burn_in(SimpleNamespace(average=average, config=config, engine=engine, step_number=5))
    return engine, average, before, kept


def test_it_becomes_its_average_and_forgets_its_moments():
    engine, average, before, kept = end_burn_in(restart_at=5)
    assert same(engine.full_weights(), kept)
    assert not same(kept, before)
    assert engine.steps == 5
    assert engine.state_dict()["optimizer"] == {}
    assert same(dict(average.tensors), kept)


def test_without_a_restart_the_average_becomes_the_student():
    engine, average, before, _ = end_burn_in(restart_at=0)
    assert same(engine.full_weights(), before)
    assert same(dict(average.tensors), before)
    assert engine.state_dict()["optimizer"]


def restart_of(*words):
    return load_config([], [*SHARDS, "train.optim.restart=0.5", *words]).restart_at


def test_only_a_student_of_unlabelled_frames_begins_again():
    assert restart_of("method.name=mean_teacher", "train.burn_in_steps=30") == 30
    assert restart_of("method.name=supervised", "train.burn_in_steps=30") == 0
    assert load_config([], [*SHARDS, "method.name=mean_teacher"]).restart_at == 0


def test_without_an_average_there_is_nothing_to_begin_from():
    with pytest.raises(ConfigError, match=r"train\.average"):
        restart_of("method.name=tsal", "train.average=0")
