"""Both roles, with numbers for what they compute: the student's weights are its step, a label row is made of its identity."""

import itertools
from types import SimpleNamespace

import numpy as np
import torch

from tests.fakes_rows import make_batch, rows_are_true
from tsal_dist.metrics.gate import ReadinessGate
from tsal_dist.observe.meters import Pace
from tsal_dist.observe.profiler import StepProfiler
from tsal_dist.pseudo.topic import split_producer
from tsal_dist.recipes.api import OneNet
from tsal_dist.roles.label_usage import LabelUsage
from tsal_dist.roles.student import Student
from tsal_dist.roles.teacher import Teacher

UNIT = 4
"""Frames of a clip."""


class Net:
    """An engine whose weights are its step."""

    def __init__(self):
        self.steps = 0

    def full_weights(self):
        return {"step": torch.tensor(float(self.steps))}


class SmallStudent(Student):
    """Trains in `step_s`, or in `quick_s` without labels, and remembers what it was given."""

    def __init__(self, world, planner, consumer, ahead):
        self.config, self.rank, self.world, self.ahead = world.config, 0, 1, ahead
        self.recipe = SimpleNamespace(publishes="student", student=OneNet(), extra=dict)
        self.engine, self.planner = Net(), planner
        self.feed = SimpleNamespace(
            consumer=consumer, expect=lambda plan: self.given.update({plan.step: consumer.fetch(plan)})
        )
        self.usage = LabelUsage(world.staleness)
        self.average = self.notes = None
        self.profiler = StepProfiler()
        self.pace, self.metrics, self.coming, self.given = Pace(world.clock.now_s), {}, {}, {}
        self._world = world

    def step(self):
        step, plan = self.step_number, self.coming.pop(self.step_number, None)
        lesson = ()
        if plan and plan.rows_per_rank:
            rows = self.given.pop(step).columns
            assert rows_are_true(rows)
            versions = [part.teacher_step for part in plan.ranges() for _ in range(len(part))]
            lesson = tuple(zip(rows["sample_id"].tolist(), versions, strict=True))
        self._world.spend("train", self._world.step_s if lesson else self._world.quick_s)
        self.engine.steps += 1
        self._world.lessons[step] = lesson

    def state_dict(self):
        return {
            "engine": {"weights": self.engine.full_weights()},
            "step": self.engine.steps,
            "planner": self.planner.state_dict(),
        }

    def load_state_dict(self, state):
        self.engine.steps = state["step"]
        self.planner.load_state_dict(state["planner"])


class SmallTeacher(Teacher):
    """Labels the next clips in `label_s`; what it knows is a version."""

    def __init__(self, world, producer, rows_at_once, label_s):
        self.config, self.rank, self.world = world.config, 0, 1
        self.recipe = SimpleNamespace(every_version=True)
        self.engine, self.clips, self.producer = Net(), itertools.count(), producer
        self.gate = ReadinessGate(world.config.train.gate.slack)
        self.version, self.last_turn_step, self.labelled_rows = -1, -1, 0
        # Each crew has its own order of clips.
        self.next_clip = 10_000 * sum(split_producer(producer.name)[0].removeprefix("teacher").encode())
        self.pace, self.metrics = Pace(world.clock.now_s), {}
        self._world, self._rows, self._label_s = world, rows_at_once, label_s

    def absorb(self, step, weights):
        assert float(weights["step"]) == step
        self.version = self.engine.steps = step
        self._world.absorbed.append(step)
        self._world.spend("absorb", self._world.absorb_s)

    def label(self):
        first = self.next_clip * UNIT
        self.next_clip += self._rows // UNIT
        self._world.spend("label", self._label_s)
        self.producer.publish(make_batch(range(first, first + self._rows)), self.version)
        self.labelled_rows += self._rows
        return self._rows

    def state_dict(self):
        return {
            "version": self.version,
            "last_turn_step": self.last_turn_step,
            "clip": self.next_clip,
            "gate": self.gate.state_dict(),
        }

    def load_state_dict(self, state):
        self.version = self.engine.steps = state["version"]
        self.last_turn_step = state["last_turn_step"]
        self.next_clip = state["clip"]
        self.gate.load_state_dict(state["gate"])


class JudgedNet:
    """What is measured."""

    step = -1.0

    def holds(self, weights):
        return self.step == float(weights["step"])

    def load(self, weights):
        self.step = float(weights["step"])


class Judge:
    """Stands for an evaluator: the error of a net at its step, as the test says, found in so many seconds."""

    def __init__(self, world, role, nme_at):
        self._world, self._role, self._nme_at = world, role, nme_at

    def run(self, net, between=lambda: None):
        for _ in range(10):  # batches
            self._world.spend(f"judge the {self._role}", self._world.evaluate_s[self._role] / 10)
            between()
        return Judged(self._nme_at(net.step))


class Judged:
    """An evaluation of one number."""

    def __init__(self, nme):
        self.errors = SimpleNamespace(nme=nme)

    def vectors(self):
        return {"nme": np.array([self.errors.nme])}

    def with_vectors(self, vectors):
        return Judged(float(vectors["nme"][0]))
