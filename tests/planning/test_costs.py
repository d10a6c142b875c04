"""Costs read off lines that were made by hand."""

import pytest

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError, TrainingError
from tsal_dist.planning.costs import STEADY, keep_rate, read_costs


def lines(steps, published, student_s, teacher_s, publish_s, absorb_s):
    """A synchronous run's metrics: step n's line is written after it, so version 0 is published before line 1."""
    now, found = 100.0, []
    for step in range(1, steps + 1):
        version = (step - 1) % published == 0
        turn = teacher_s + absorb_s * version
        took = turn + student_s + publish_s * version
        now += took
        found.append({"step": step, "time": now, "speed/wait_share": turn / took})
    return found


def test_costs_are_per_clip_and_a_versions_cost_is_spread():
    costs = read_costs(lines(40, 5, 0.08, 0.02, 0.3, 0.6), clips=2, published=5, publish_every=30)
    assert costs.student_s == pytest.approx((0.08 + 0.3 / 30) / 2)
    assert costs.teacher_s == pytest.approx((0.02 + 0.6 / 30) / 2)


def test_one_long_step_says_nothing():
    found = lines(40, 5, 0.08, 0.02, 0.0, 0.0)
    for line in found[17:]:
        line["time"] += 50
    costs = read_costs(found, clips=1, published=5, publish_every=5)
    assert costs.student_s == pytest.approx(0.08)
    assert costs.teacher_s == pytest.approx(0.02)


def test_too_few_steps_are_refused():
    with pytest.raises(TrainingError, match="too few"):
        read_costs(lines(4, 10, 0.1, 0.1, 0, 0)[1:], clips=1, published=10, publish_every=10)


def test_the_keep_rate_is_what_came_of_what_was_committed():
    said = [{"queue/delivered": 10.0, "queue/trimmed": 0.0}, {"queue/delivered": 60.0, "queue/trimmed": 20.0}]
    assert keep_rate([{"step": 1}, *said, {"validation/nme": 0.1}]) == pytest.approx(0.75)
    with pytest.raises(ConfigError, match="no labels yet"):
        keep_rate([{"queue/delivered": 0.0, "queue/trimmed": 0.0}])


def test_every_step_of_a_probe_has_a_turn_of_its_teacher():
    """With a turn in every third step alone the median turn was nothing, and the plan asked to measure again for ever."""
    assert load_config([], ["runtime.teacher_cycle=3", *STEADY]).runtime.teacher_cycle == 1


def test_a_probe_is_told_to_no_service():
    chosen = ("runtime.log.wandb=true", "runtime.log.mlflow=true")
    log = load_config([], [*chosen, *STEADY]).runtime.log
    assert not log.wandb
    assert not log.mlflow
