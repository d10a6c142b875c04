"""Kills at random for a while, then the books: no row is lost, none is trained on too often, none too late.

CHAOS_S says how many seconds the killing goes on; minutes of it find what this short round may miss.
"""

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.loops.short_runs import saved
from tests.runs.jobs import beat, committed
from tsal_dist.errors import ExitCode
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.plan import load_plans
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.survey import survey_producers
from tsal_dist.pseudo.topic import inspect_topic

CHAOS_S = float(os.environ.get("CHAOS_S", "40"))
BURN_IN, MAX_LAG, MAX_REUSE = 4, 30, 2
WORDS = (
    "train.steps=100000",
    f"train.burn_in_steps={BURN_IN}",
    f"runtime.queue.max_lag_steps={MAX_LAG}",
    f"runtime.queue.max_reuse={MAX_REUSE}",
    "runtime.queue.max_rho=1",
    "runtime.log.every=20",
)
ROLES = ("student", "teacher")


@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * CHAOS_S)
def test_no_row_is_lost_or_trained_on_too_often_or_too_late(faces, jobs, tmp_path):
    run = tmp_path / "run"
    chance = random.Random(0)
    lives, born = {role: jobs.role(faces, run, role, *WORDS) for role in ROLES}, dict.fromkeys(ROLES, 0.0)
    at_work, kills = {}, Counter()
    lives["student"].until(lambda: committed(run), "checkpoint")
    ends_at = time.monotonic() + CHAOS_S
    while time.monotonic() < ends_at:
        for role in ROLES:
            assert lives[role].process.poll() is None, lives[role].output[-3000:]
            incarnation = beat(run, role)["incarnation"]
            if incarnation <= born[role] or beat(run, role)["phase"] == "start":
                continue
            # From its first work on it has up to four seconds to live: kills fall into every kind of moment.
            due = at_work.setdefault((role, incarnation), time.monotonic() + chance.uniform(0, 4))
            if time.monotonic() >= due:
                lives[role].send(signal.SIGKILL)
                lives[role].process.wait(30)
                kills[role] += 1
                born[role] = incarnation
                lives[role] = jobs.role(faces, run, role, *WORDS)
        time.sleep(0.02)
    assert min(kills[role] for role in ROLES) >= 2, kills
    before = committed(run)[-1]
    lives["student"].until(lambda: committed(run)[-1] > before, "headway once it is left alone")
    for job in lives.values():
        job.send(signal.SIGTERM)
    assert [job.finish() for job in lives.values()] == [ExitCode.REQUEUE] * 2
    audit(run)


def audit(run):
    state = saved(run, "student")["planner"]
    plans = [plan for plan in load_plans(run / "metrics" / "plan.jsonl") if plan.step <= state["step"]]
    assert [plan.step for plan in plans] == list(range(BURN_IN, state["step"] + 1)), "every step once"

    uses = Counter()
    for plan in plans:
        for part in plan.ranges():
            assert plan.now_step - part.teacher_step <= MAX_LAG
            for row in range(part.start, part.stop):
                uses[part.producer, part.seq, row] += 1
                assert uses[part.producer, part.seq, row] == part.use, "first use first, then again"
    assert uses
    assert max(uses.values()) <= MAX_REUSE

    topic = inspect_topic(PosixStore(run / "queue" / "labels"))
    planner = Planner(topic, "audit", Staleness(0.99, 1.0, MAX_LAG), max_reuse=MAX_REUSE)
    planner.load_state_dict(state)
    planner.tick()
    counts = planner.counts()
    planner.close()
    logged = {producer.name: producer.rows for producer in survey_producers(topic)}
    assert {name: count.pop("committed") for name, count in counts.items()} == logged
    assert {name: sum(count.values()) for name, count in counts.items()} == logged
    first_uses = Counter(producer for producer, _, _ in uses)
    assert {name: count["delivered"] for name, count in counts.items()} == {n: first_uses[n] for n in counts}
    assert not any(count["quarantined"] for count in counts.values()), "a kill tears nothing"
