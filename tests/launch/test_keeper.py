"""A crew is started again after a growing pause, up to a limit, and never where that would not help."""

import sys

import pytest

from launch.keeper import HEALTHY_S, LONGEST_PAUSE_S, Keeper, Patience
from tsal_dist.errors import ExitCode


def test_pauses_grow_to_a_limit():
    patience = Patience(10)
    pauses = [patience.pause_s(ExitCode.FAILED, 1.0) for _ in range(11)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[LONGEST_PAUSE_S] * 4, None]


def test_a_long_life_is_forgiven():
    patience = Patience(1)
    assert patience.pause_s(ExitCode.FAILED, 1.0) == 1.0
    assert patience.pause_s(ExitCode.FAILED, HEALTHY_S) == 1.0
    assert patience.pause_s(ExitCode.FAILED, 1.0) is None


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, True), (2, False), (75, True)])
def test_what_is_started_again(code, again):
    assert (Patience(3).pause_s(ExitCode(code), 1.0) is not None) == again


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def keep(tmp_path):
    """`keep(script)` is a Keeper of a tiny Python process, its clock, and its output."""
    opened = []

    def build(script, restarts=2):
        clock, path = Clock(), tmp_path / "log"
        opened.append(open(path, "ab"))
        return Keeper("it", [sys.executable, "-c", script], {}, opened[-1], restarts, clock), clock, path

    yield build
    for file in opened:
        file.close()


def end_of(keeper):
    """Wait until the crew that runs now has ended and was seen to."""
    keeper._process.wait(timeout=30)
    keeper.tend()


def test_restarts_wait_for_their_time(keep):
    keeper, clock, log = keep("print('started', flush=True); raise SystemExit(1)", restarts=1)
    keeper.tend()
    end_of(keeper)
    clock.now_s += 0.9
    keeper.tend()
    assert log.read_text().count("started") == 1
    clock.now_s += 0.2
    keeper.tend()
    end_of(keeper)
    assert keeper.ending == ExitCode.FAILED
    keeper.tend()
    assert log.read_text().count("started") == 2


@pytest.mark.parametrize(("script", "ending"), [("raise SystemExit(2)", 2), ("pass", 0)])
def test_an_end_that_stays(keep, script, ending):
    keeper, _, _ = keep(script)
    keeper.tend()
    end_of(keeper)
    assert keeper.ending == ending


def test_a_crew_that_was_killed_has_failed(keep):
    keeper, _, _ = keep("import os; os.kill(os.getpid(), 9)", restarts=0)
    keeper.tend()
    end_of(keeper)
    assert keeper.ending == ExitCode.FAILED


def test_asked_to_leave_it_is_the_last_time(keep):
    script = """
import signal, sys, time
signal.signal(15, lambda *_: sys.exit(75))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [15])
print('up', flush=True)
while True:
    time.sleep(0.05)  # a signal just before a sleep is heard after it
"""
    keeper, _, log = keep(script)
    keeper.tend()
    while "up" not in log.read_text():
        pass
    keeper.ask_to_leave()
    end_of(keeper)
    assert keeper.ending == ExitCode.REQUEUE
    between, _, _ = keep("raise SystemExit(1)")
    between.tend()
    end_of(between)
    between.ask_to_leave()
    assert between.ending == ExitCode.REQUEUE


def test_a_crew_that_is_asked_to_leave_while_it_starts_is_not_lost(keep):
    """It hears of it when it listens, and leaves with the code it would have left with later."""
    script = "import launch.crew, time\nrelay = launch.crew.Relay()\nwhile not relay.pending: time.sleep(0.01)\nraise SystemExit(75)"
    keeper, _, _ = keep(script)
    keeper.tend()
    keeper.ask_to_leave()  # Python has not even begun
    end_of(keeper)
    assert keeper.ending == ExitCode.REQUEUE
