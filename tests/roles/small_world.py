"""Both roles in one thread, on stores in memory, by a clock that is moved by hand: hours of a run in milliseconds.

Real are the loops, the upkeep, the heartbeats, the handshake, the claims, the queue with its producers, planner, cursor
and credits, the gate, the usage counts and the config. What a role computes is a number: the student's weights are its
step, a label row is made of its identity (`tests/fakes_rows`). A step, an absorbed version and a segment take the time
that the test says.

A process that is killed leaves what it wrote and nothing else: `start_student` and `start_teacher` build a new one from it.
"""

import copy
import itertools
from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from tests.fakes_rows import make_batch, rows_are_true, small_schema
from tsal_dist.checkpoint.store import Loaded
from tsal_dist.config import load_config
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import StaleRun
from tsal_dist.exchange.beat import DONE, NAMES, Heart, Watch, list_crews
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.store import ensure
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.metrics.gate import ReadinessGate
from tsal_dist.observe.meters import Pace
from tsal_dist.observe.profiler import StepProfiler
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.topic import open_topic, producer_name, split_producer
from tsal_dist.recipes.api import OneNet
from tsal_dist.roles.label_usage import LabelUsage
from tsal_dist.roles.peers import STUDENT_PEER, TEACHER_PEER, SignOfLife, WatchedTeachers
from tsal_dist.roles.plan_finder import PlanFinder
from tsal_dist.roles.student import Student
from tsal_dist.roles.student_loop import OwnPace, StudentLoop
from tsal_dist.roles.student_upkeep import StudentUpkeep
from tsal_dist.roles.teacher import Teacher
from tsal_dist.roles.teacher_loop import TeacherLinks, go_round
from tsal_dist.run_dir import role_in_files

UNIT, ROWS = 4, 8
"""Frames of a clip, and what a step wants."""
SETTINGS = (
    "method.name=tsal",
    "train.steps=40",
    "train.burn_in_steps=4",
    f"train.unlabelled_batch={ROWS}",
    f"data.clip_frames={UNIT}",
    "train.gate.enabled=false",
    "runtime.queue.segment_rows=8",
    "runtime.queue.high_water_rows=32",
    "runtime.queue.low_water_rows=16",
    "runtime.queue.max_lag_steps=20",
    "runtime.weights.publish_every=2",
    "runtime.checkpoint.every=10",
    "runtime.deadlines.silent_s=30",
    "runtime.deadlines.group_s=40",
    "runtime.deadlines.shutdown_s=60",
    "runtime.deadlines.grace_s=100",
)


class ManualClock:
    """Time passes where somebody spends it. Whoever is at the top spends everybody's; an actor spends its own."""

    def __init__(self):
        self.now = 0.0
        self.actors = []
        self._acting = None

    def now_s(self):
        return self._acting.free_at if self._acting else self.now

    def sleep(self, seconds):
        if self._acting:
            self._acting.free_at += seconds
        else:
            self._pass(seconds)

    def add(self, turn, at=None):
        """Let `turn` be called whenever the actor is free, until it returns True."""
        actor = SimpleNamespace(turn=turn, free_at=self.now if at is None else at)
        self.actors.append(actor)
        return actor

    def at(self, when, act):
        """Once, at this time."""

        def turn():
            self.actors.remove(actor)
            act()

        actor = self.add(turn, at=when)

    def _pass(self, seconds):
        target = self.now + seconds
        while due := [actor for actor in self.actors if actor.free_at <= target]:
            actor = min(due, key=lambda one: one.free_at)
            self.now = max(self.now, actor.free_at)
            actor.free_at, self._acting = self.now, actor
            try:
                done = actor.turn()
            finally:
                self._acting = None
            actor.free_at = max(actor.free_at, self.now + 1e-3)
            if done and actor in self.actors:
                self.actors.remove(actor)
        self.now = target


class MemoryCheckpoints:
    """Kept by the world, as a disk keeps them."""

    def __init__(self, keep=2):
        self.files, self._keep = {}, keep
        self.at = None

    def save(self, step, state, rank_state):
        self.files[step] = copy.deepcopy((dict(state), dict(rank_state)))
        self.at = step
        for old in self.committed()[: -self._keep]:
            del self.files[old]

    def committed(self):
        return sorted(self.files)

    def latest_committed(self):
        return max(self.files, default=None)

    def load_latest(self, most=float("inf")):
        self.at = max((step for step in self.files if step <= most), default=None)
        return None if self.at is None else Loaded(self.at, *copy.deepcopy(self.files[self.at]))

    def peek_all(self, key):
        return [copy.deepcopy(self.files[step][0][key]) for step in self.committed()]

    def record_score(self, step, score):
        pass


class Versions:
    """The student's weights on their way to the teacher: both ends."""

    def __init__(self):
        self.there, self.published, self.superseded = {}, 0, 0

    def offer(self, step, tensors, nme=None):
        self.there[step] = SimpleNamespace(tensors=dict(tensors), version=SimpleNamespace(nme=nme))
        self.published += 1

    def flush(self, timeout_s):
        pass

    def forget_after(self, step):
        self.there = {at: version for at, version in self.there.items() if at <= step}

    def versions_since(self, step):
        return sorted(found for found in self.there if found > step)

    def fetch(self, step):
        return self.there.get(step)


class PlanLines:
    """A plan log in memory."""

    def __init__(self):
        self.lines = []

    def write(self, plan):
        self.lines.append(plan)

    def surviving(self):
        plans = []
        for plan in self.lines:
            while plans and plans[-1].step >= plan.step:
                plans.pop()
            plans.append(plan)
        return plans

    def close(self):
        pass


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
        plan = self.coming.pop(self.step_number, None)
        if plan and plan.rows_per_rank:
            rows = self.given.pop(plan.step)
            assert rows_are_true(rows.columns)
        self.engine.steps += 1
        self._world.took[self.engine.steps - 1] = plan.rows_per_rank if plan else 0
        self._world.clock.sleep(self._world.step_s if plan and plan.rows_per_rank else self._world.quick_s)

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

    def __init__(self, world, producer, label_s):
        self.config, self.rank, self.world = world.config, 0, 1
        self.recipe = SimpleNamespace(every_version=True)
        self.engine, self.clips, self.producer = Net(), itertools.count(), producer
        self.gate = ReadinessGate(world.config.train.gate.slack)
        self.version, self.turn, self.labelled_rows = -1, -1, 0
        # Each crew has its own order of clips.
        self.next_clip = 10_000 * sum(split_producer(producer.name)[0].removeprefix("teacher").encode())
        self.pace, self.metrics = Pace(world.clock.now_s), {}
        self._world, self._label_s = world, label_s

    def absorb(self, step, weights):
        assert float(weights["step"]) == step
        self.version = self.engine.steps = step
        self._world.absorbed.append(step)
        self._world.clock.sleep(self._world.absorb_s)

    def label(self):
        first = self.next_clip * UNIT
        self.next_clip += ROWS // UNIT
        self._world.clock.sleep(self._label_s)
        self.producer.publish(make_batch(range(first, first + ROWS)), self.version)
        self.labelled_rows += ROWS
        return ROWS

    def state_dict(self):
        return {"version": self.version, "clip": self.next_clip, "gate": self.gate.state_dict()}

    def load_state_dict(self, state):
        self.version = self.engine.steps = state["version"]
        self.next_clip = state["clip"]
        self.gate.load_state_dict(state["gate"])


class JudgedNet:
    """What is measured."""

    def load(self, weights):
        self.step = float(weights["step"])


class Judge:
    """Stands for an evaluator: the error of a net at its step, as the test says, found in so many seconds."""

    def __init__(self, world, role, nme_at):
        self._world, self._role, self._nme_at = world, role, nme_at

    def run(self, net, between=lambda: None):
        for _ in range(10):  # batches
            self._world.clock.sleep(self._world.evaluate_s[self._role] / 10)
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


class TellingLife(SignOfLife):
    """Remembers every phase that it was told, with the time."""

    def __init__(self, heart, require_current, clock, said):
        super().__init__(heart, require_current, clock, 1.0)
        self._now_s, self._said = clock.now_s, said

    def show(self, phase, step, besides=lambda: None):
        self._said.append((self._now_s(), phase))
        super().show(phase, step, besides)


class World:
    """One run's files and clock, and the processes that work on it."""

    step_s, quick_s, absorb_s, label_s = 1.0, 1.0, 0.1, 0.5

    def __init__(self, *overrides, store=None, queue=None, ahead=0):
        self.config = load_config([], [*SETTINGS, *overrides])
        self.clock, self.ahead = ManualClock(), ahead
        self.evaluate_s = {"student": 0.2, "teacher": 0.2}
        self.store, self.queue = store or MemoryStore(), queue or MemoryStore()
        bounds = self.config.runtime.queue
        self.staleness = Staleness(0.999, bounds.max_rho, bounds.max_lag_steps)
        self.plans, self.versions = PlanLines(), Versions()
        self.saved = defaultdict(MemoryCheckpoints)
        self.took, self.student_stop, self.codes = {}, StopFlag(), []
        self.teachers, self.phases, self.absorbed = [], {}, []
        open_topic(self.queue, small_schema(UNIT), "run", create=True)
        RunEnd(self.store)
        for peer in (STUDENT_PEER, TEACHER_PEER):
            ensure(self.store, NAMES.hello(*peer).as_posix())

    def start_teacher(self, at=None, crew="", label_s=None):
        """A new process of the teacher, which acts from now on, or from `at` on; its handle to stop or kill it. A `crew`
        with a name works beside the first one, at a pace of its own."""
        handle = SimpleNamespace(stop=StopFlag(), code=None, error=None, actor=None, links=None)

        def turn():
            if handle.links is None:
                handle.links = self.teacher_links(role_in_files("teacher", crew), label_s)
                handle.resumed_from = handle.links.teacher.version
                return False
            try:
                handle.code = go_round(handle.links, handle.stop)
            except StaleRun as error:
                handle.error = error
            if handle.code is not None:
                handle.links.life._heart.beat(DONE, 0)
            handle.ended_at = self.clock.now
            return handle.code is not None or handle.error is not None

        handle.actor = self.clock.add(turn, at)
        self.teachers.append(handle)
        return handle

    def kill(self, handle):
        """SIGKILL: no goodbye, nothing saved."""
        if handle.actor in self.clock.actors:
            self.clock.actors.remove(handle.actor)

    def run_student(self):
        """A new process of the student, to its end; its exit code."""
        self.student_stop = StopFlag()
        code = self.student_loop().run()
        self.clock.sleep(5.0)  # so that a teacher sees the end
        return code

    def student_loop(self):
        turn = begin_tenure(self.store, "student", 0, "run")
        queue, limits = self.config.runtime.queue, self.config.runtime.deadlines
        topic = open_topic(self.queue, small_schema(UNIT), "run")
        planner = Planner(
            topic,
            "student",
            self.staleness,
            max_reuse=queue.max_reuse if queue.on_starvation == "reuse" else 1,
            discover_s=limits.poll_s,
            cursor_s=limits.poll_s,
            plan_log=self.plans,
            clock=self.clock.now_s,
        )
        # Read and decoded in this thread, for an order that is always the same.
        consumer = Consumer(topic, 0, self.staleness, threads=0, verified=planner.take_verified)
        student = SmallStudent(self, planner, consumer, self.ahead)
        checkpoints = self.saved["student"]
        end = RunEnd(self.store)
        end.announce("")
        peers = WatchedTeachers(
            self._life("student", turn),
            end,
            self._handshake("student"),
            self.watch(),
            partial(list_crews, self.store, "teacher"),
            self.clock,
            list_every_s=5.0,
        )
        upkeep = StudentUpkeep(
            student=student,
            judged=JudgedNet(),
            checkpoints=checkpoints,
            publisher=self.versions,
            sink=None,
            validation=None,
            gate_frames=Judge(self, "student", lambda step: self.student_nme(step)),
            sign_of_life=lambda phase: (peers.tick(phase, student.step_number), planner.tick()),
        )
        finder = PlanFinder(planner, self.config, 1, peers, self.student_stop, self.clock)
        return StudentLoop(student, upkeep, peers, OwnPace(), finder, self.student_stop)

    def phase_at(self, role, when):
        """What a role was doing then."""
        return [phase for since, phase in self.phases[role] if since <= when][-1]

    def watch(self):
        """The teacher's heartbeat, as the student sees it."""
        silent_s = self.config.runtime.deadlines.silent_s
        return Watch(self.store, [TEACHER_PEER], silent_s, self.clock.now_s)

    def student_nme(self, step):
        """How wrong the student is at a step; tests say otherwise."""
        return 0.1

    def teacher_nme(self, version):
        return 0.1

    def trained_rows(self):
        """(producer, segment, row) of every use in the surviving history, with the number that the plan gives it."""
        return [
            ((part.producer, part.seq, row), part.use)
            for plan in self.plans.surviving()
            for part in plan.ranges()
            for row in range(part.start, part.stop)
        ]

    def assert_whole(self):
        """The history that survived has every step once, and every row not more often than allowed, in turn."""
        steps = [plan.step for plan in self.plans.surviving()]
        train = self.config.train
        assert steps == list(range(train.burn_in_steps, train.steps))
        uses = {}
        for row, use in self.trained_rows():
            uses[row] = uses.get(row, 0) + 1
            assert use == uses[row], f"{row} is used for the {uses[row]}th time and was planned as use {use}"
        most = (
            self.config.runtime.queue.max_reuse if self.config.runtime.queue.on_starvation == "reuse" else 1
        )
        assert max(uses.values(), default=0) <= most

    def teacher_links(self, role="teacher", label_s=None):
        turn = begin_tenure(self.store, role, 0, "run")
        queue, limits = self.config.runtime.queue, self.config.runtime.deadlines
        topic = open_topic(self.queue, small_schema(UNIT), "run")
        credits = Credits(
            self.queue,
            producer_name(role, 0, turn.incarnation),
            ["student"],
            queue.high_water_rows,
            queue.low_water_rows,
            limits.silent_s,
            self.clock.now_s,
        )
        producer = Producer(
            topic,
            role,
            0,
            turn.incarnation,
            max_rows=queue.segment_rows,
            credits=credits,
            clock=self.clock.now_s,
        )
        teacher = SmallTeacher(self, producer, self.label_s if label_s is None else label_s)
        links = TeacherLinks(
            teacher=teacher,
            judged=JudgedNet(),
            gate_frames=Judge(self, "teacher", lambda step: self.teacher_nme(step)),
            weights=self.versions,
            checkpoints=self.saved[role],
            clock=self.clock,
            life=self._life(role, turn),
            require_current=turn.require,
            handshake=self._handshake(role),
            end=RunEnd(self.store),
            sink=None,
        )
        links.resume(self.saved["student"].latest_committed())
        return links

    def _life(self, role, turn):
        heart = Heart(self.store, role, 0, turn.incarnation, "host")
        heart.beat("start", 0)
        said = self.phases.setdefault(role, [])
        return TellingLife(heart, turn.require, self.clock, said)

    def _handshake(self, role):
        return Handshake(self.store, role, 0, "run", self.clock.now_s, self.clock.sleep)
