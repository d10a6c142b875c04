"""How fast labels age, and that versions come often enough for labels to be young."""

import math

import pytest

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.recipes.api import Member
from tsal_dist.recipes.following import Frozen, Newest
from tsal_dist.runs import build
from tsal_dist.runs.build_staleness import build_staleness, require_young_labels

DATA = ("data.labelled=a", "data.unlabelled=a", "model.num_points=5", "model.layout.flip=none")


def composed(*words):
    config = load_config(overrides=[*DATA, *words])
    return config, build.build_recipe(config, build.build_task(config))


def test_labels_age_as_the_average_forgets():
    assert build_staleness(*composed("method.name=mean_teacher")).bound_steps == 68


def test_those_of_a_teacher_that_never_moves_do_not():
    config, recipe = composed("method.name=mean_teacher")
    still = type("Still", (), {"panel": {"a": Member(Frozen()), "b": Member(Frozen())}})
    assert math.isinf(build_staleness(config, still).bound_steps)
    one_moves = type("Moves", (), {"panel": {"a": Member(Frozen()), "b": Member(Newest())}})
    assert build_staleness(config, one_moves).bound_steps == 68


def test_versions_that_come_too_seldom_for_any_label_to_be_young_are_refused():
    def require(*words):
        config, recipe = composed(*words)
        require_young_labels(config, build_staleness(config, recipe))

    require("runtime.weights.publish_every=68")
    with pytest.raises(ConfigError, match=r"publish_every is 69, .* Publish every 23 steps or so"):
        require("runtime.weights.publish_every=69")
    require("runtime.weights.publish_every=69", "train.average=0.999")
    require("runtime.weights.publish_every=69", "method.name=supervised")


def test_a_teachers_rate_ends_with_its_last_own_step(monkeypatch):
    """It takes none during burn-in, so those versions do not count."""
    words = ("train.steps=100", "train.burn_in_steps=40", "runtime.weights.publish_every=10")
    config, recipe = composed("method.name=tsal", *words)
    monkeypatch.setattr(build, "build_engine", lambda net, settings, optim, steps, device: steps)
    assert build._teacher_engine(config, recipe, None, None) == 6 * recipe.learn.steps
