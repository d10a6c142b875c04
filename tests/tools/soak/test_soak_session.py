"""The soak's own course: a run that is over before the injuries are is extended, and none of them is lost."""

from types import SimpleNamespace

import pytest

from tools.soak import session
from tools.soak.recovery import RecoveryTimes
from tools.soak.schedule import Event


class ShortRun:
    """Over as soon as two injuries were done to it since it was last extended."""

    def __init__(self):
        self.steps, self.left, self.ends = 100, 2, True
        self.student = SimpleNamespace(name="student", finished=False)
        self.roles = ()

    @property
    def finished(self):
        return self.student.finished and self.ends

    def wait(self, seconds):
        self.student.finished = self.left == 0

    def until(self, condition, limit_s):
        return bool(condition())

    def until_ready(self, limit_s):
        return True

    def go_on(self, steps):
        self.steps, self.left, self.student.finished = steps, 2, False


@pytest.fixture
def hurts(monkeypatch):
    """Which injuries were done, to a run that was at work."""
    done = []

    def hurt(injector, kind, dice):
        assert not injector.run.student.finished
        injector.run.left -= 1
        done.append(kind)
        return f"{kind} was done"

    monkeypatch.setattr(session, "hurt", hurt)
    return done


EVENTS = [Event(0.0, kind, 1) for kind in "abcdef"]


def test_a_run_that_is_over_is_extended_by_what_the_time_has_left(hurts, capsys):
    run = ShortRun()
    done, late = session._hurt(SimpleNamespace(run=run), EVENTS, RecoveryTimes(), limit_s=60)
    assert hurts == list("abcdef")
    assert sum(done.values()) == 6
    assert late == []
    assert capsys.readouterr().out.count("goes on, to step") == 2
    assert run.steps >= 100 + 2 * session.PACE_STEPS


def test_a_run_whose_teacher_does_not_end_is_a_finding(hurts):
    run = ShortRun()
    run.ends = False
    _, late = session._hurt(SimpleNamespace(run=run), EVENTS[:3], RecoveryTimes(), limit_s=60)
    assert late == [f"the run was left alone and did not finish within {session.RETURN_S:.0f} s"]
    assert hurts == list("abc")


def test_nothing_is_hurt_or_extended_when_the_time_is_over(hurts):
    run = ShortRun()
    run.student.finished = True
    done, _ = session._hurt(SimpleNamespace(run=run), EVENTS, RecoveryTimes(), limit_s=-1)
    assert not done
    assert not hurts
    assert run.steps == 100
