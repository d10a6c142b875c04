"""A student that outruns its teacher is held back, and nobody else is: both roles in a world with a clock of its own."""

from types import SimpleNamespace

import pytest

from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.exchange.beat import Pulse
from tsal_dist.pseudo.step_plan import Plan, RowRange
from tsal_dist.roles.peers import TEACHER_PEER, WatchedTeachers
from tsal_dist.roles.plan_finder import PlanFinder

BOUND, ROWS = 20, 8
QUICK, WHOLE, SEGMENT, POLL = 1, 5, 40, 1
"""What a step on labels alone, a step with pseudo-labels, a segment of them and a look at the queue take."""
SELDOM, OFTEN, ABSORB = 1000, 10, 9
"""Steps between two versions: where they cost nothing, and where a teacher needs nearly all the time of quick ones."""


class World:
    """A teacher that takes in what was published, labels a segment with it, and so on; and the planner that reads them."""

    reusable_rows = 0

    def __init__(self, phase="label", dies_at=float("inf"), bound=BOUND, every=SELDOM):
        self.phase, self.dies_at, self.bound_steps, self.every = phase, dies_at, bound, every
        self.now, self.step, self.knows, self.ready = 0, 0, 0, SEGMENT
        self.waiting, self.used, self.late = [], 0, 0
        self.topic = SimpleNamespace(store=SimpleNamespace(where=lambda: "here"))

    def pass_time(self, units):
        for _ in range(units):
            self.now += 1
            if self.now == self.ready and self.now < self.dies_at:
                self.waiting.append(self.knows)
                versions = self.step // self.every - self.knows // self.every
                self.knows, self.ready = self.step, self.now + ABSORB * versions + SEGMENT

    @property
    def pending_rows(self):
        return ROWS * len(self.waiting)

    @property
    def committed_rows(self):
        return ROWS * (len(self.waiting) + self.used + self.late)

    def tick(self):
        pass

    def plan(self, step, rows, world, reuse):
        late = 0
        while self.waiting:
            teacher_step = self.waiting.pop(0)
            if step - teacher_step <= self.bound_steps:
                self.used += 1
                return Plan(step, step, ((RowRange("t", 0, 0, ROWS, 1, teacher_step, 1, 1),),))
            late += 1
        self.late += late
        return Plan(step, step, ((),), rows, {"stale": late * ROWS} if late else {})

    # As a watch:

    def look(self):
        silent_s = max(0, self.now - self.dies_at)
        return {TEACHER_PEER: Pulse(0, self.now, self.phase, self.knows, "host", silent_s=silent_s)}

    def lost(self):
        return [TEACHER_PEER] if self.now > self.dies_at else []


def train(world, steps, silent_s=600):
    """So many steps; the looks at an empty queue that were waited."""
    limits = SimpleNamespace(silent_s=silent_s, poll_s=POLL)
    queue = SimpleNamespace(on_starvation="reuse")
    weights = SimpleNamespace(publish_every=world.every)
    runtime = SimpleNamespace(queue=queue, deadlines=limits, offline=[], weights=weights)
    config = SimpleNamespace(train=SimpleNamespace(unlabelled_batch=ROWS), runtime=runtime)
    waits = []
    clock = SimpleNamespace(
        now_s=lambda: world.now, sleep=lambda units: (waits.append(units), world.pass_time(units))
    )
    peers = WatchedTeachers(SimpleNamespace(show=lambda *args: None), None, None, world, tuple, clock, 0.0)
    finder = PlanFinder(world, config, 1, peers, StopFlag(), clock)
    for step in range(steps):
        world.step = step
        plan = finder.find(step, step)
        world.pass_time(WHOLE if plan.rows_per_rank else QUICK)
    return len(waits)


def test_without_it_two_healthy_roles_never_meet_again(monkeypatch):
    """What the limit is for: this world starves a student that runs on."""
    world = World()
    monkeypatch.setattr("tsal_dist.roles.run_ahead_limit.RunAheadLimit.holds", lambda *args: False)
    assert train(world, 2000) == 0
    assert world.used == 0
    assert world.late > 0.9 * 2000 / SEGMENT


def test_with_it_nearly_every_segment_is_used(caplog):
    world = World()
    waits = train(world, 2000)
    assert world.used > 0.95 * (world.used + world.late)
    assert waits > 0
    assert caplog.text.count("came too late") == 1, "said once"


def test_without_it_a_teacher_is_busy_with_taking_in_versions(monkeypatch):
    """What else it is for: no label is too old here, and there are hardly any."""
    world = World(bound=float("inf"), every=OFTEN)
    monkeypatch.setattr("tsal_dist.roles.run_ahead_limit.RunAheadLimit.holds", lambda *args: False)
    train(world, 4000)
    assert world.used < 0.5 * world.now / SEGMENT


def test_with_it_a_teacher_labels_for_most_of_its_time(caplog):
    world = World(bound=float("inf"), every=OFTEN)
    assert train(world, 4000) > 0
    assert world.used > 0.75 * world.now / SEGMENT
    assert caplog.text.count("versions, all of which their teacher had to take in first") == 1, "said once"


def test_a_teacher_that_keeps_pace_is_never_waited_for(caplog):
    world = World(bound=float("inf"), every=SEGMENT)
    assert train(world, 4000) == 0, "two versions at most come between two segments"
    assert not caplog.text


def test_a_student_that_is_not_outrun_waits_for_nobody():
    world = World(dies_at=0)
    assert train(world, 500) == 0, "no teacher, no labels, no waiting"


def test_a_dead_teacher_is_waited_for_no_longer():
    world = World(dies_at=500)
    waits = train(world, 5000)
    assert world.used > 3
    assert waits < 500, "the teacher lived for 500 ticks"
    assert world.now > 4000


@pytest.mark.parametrize("phase", ["wait for the student", "parked", "start"])
def test_a_teacher_that_does_not_label_is_not_waited_for(phase):
    world = World(phase)
    assert train(world, 1000) == 0
    assert world.late > 0, "though it had come to that"


def test_a_wait_in_vain_is_not_repeated(caplog):
    world = World()
    world.pass_time(SEGMENT)
    world.waiting[0] = -10 * BOUND  # too late for anything
    world.ready = -1  # and it was the last
    waits = train(world, 300, silent_s=30)
    assert waits == 31
    assert caplog.text.count("No labels came for 30 s") == 1
