"""Kills at random for a while, then the books: no row is lost, none is trained on too often, none too late.

CHAOS_S says how many seconds the killing goes on; minutes of it find what this short round may miss.
"""

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.marks import against_the_clock
from tests.runs.jobs import beat, committed
from tsal_dist.errors import ExitCode
from tsal_dist.insight.audit import audit_run
from tsal_dist.run_dir import RunDir

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


def is_at_work(run, role, after):
    """Whether a later life than `after` has begun its work."""
    now = beat(run, role)
    return now["incarnation"] > after and now["phase"] != "start"


@against_the_clock
@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * CHAOS_S)
def test_no_row_is_lost_or_trained_on_too_often_or_too_late(faces, jobs, tmp_path):
    run = tmp_path / "run"
    chance = random.Random(0)
    lives, born = {role: jobs.role(faces, run, role, *WORDS) for role in ROLES}, dict.fromkeys(ROLES, 0.0)
    at_work, kills = {}, Counter()

    def begin_anew(role):
        born[role] = beat(run, role)["incarnation"]
        lives[role] = jobs.role(faces, run, role, *WORDS)

    def keep_alive(role):
        """As a launcher does for whoever ends because the other one was killed while it was greeted."""
        job = lives[role]
        if job.process.poll() is not None:
            assert job.process.poll() == ExitCode.FAILED, job.output[-3000:]
            assert f"{ROLES[role == 'student']} 0 did not answer" in job.output, job.output[-3000:]
            begin_anew(role)

    lives["student"].until(lambda: committed(run), "checkpoint")
    ends_at = time.monotonic() + CHAOS_S
    while time.monotonic() < ends_at:
        for role in ROLES:
            keep_alive(role)
            incarnation = beat(run, role)["incarnation"]
            if not is_at_work(run, role, born[role]):
                continue
            # From its first work on it has up to four seconds to live: kills fall into every kind of moment.
            due = at_work.setdefault((role, incarnation), time.monotonic() + chance.uniform(0, 4))
            if time.monotonic() >= due:
                lives[role].send(signal.SIGKILL)
                lives[role].process.wait(30)
                kills[role] += 1
                begin_anew(role)
        time.sleep(0.02)
    assert min(kills[role] for role in ROLES) >= 2, kills
    before = committed(run)[-1]
    # Both are left alone until both are at work: a process that was just started knows no signals yet, and who is asked to
    # leave first is not there to greet the other one.
    deadline = time.monotonic() + 90
    while committed(run)[-1] <= before or not all(is_at_work(run, role, born[role]) for role in ROLES):
        for role in ROLES:
            keep_alive(role)
        assert time.monotonic() < deadline, [lives[role].output[-3000:] for role in ROLES]
        time.sleep(0.02)
    for role in ROLES:
        lives[role].send(signal.SIGTERM)
    assert [job.finish() for job in lives.values()] == [ExitCode.REQUEUE] * 2
    audit = audit_run(RunDir(run))
    assert audit.violations == []
    assert audit.uses > 0
    assert audit.bound_steps == MAX_LAG
    assert audit.rows["quarantined"] == 0, "a kill tears nothing"
