"""A signal is remembered, not acted on; one rank's flag becomes the role's."""

import os
import signal
import subprocess
import sys

import pytest

from tests.ranks import run_ranks
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import AskedToLeave, ExitCode


@pytest.mark.parametrize("number", StopFlag.SIGNALS)
def test_a_signal_sets_the_flag(number):
    before = signal.getsignal(number)
    with StopFlag() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.reason == number.name
        assert stop.agreed()
    assert signal.getsignal(number) is before


def test_the_second_interrupt_interrupts():
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_first_reason_stays():
    stop = StopFlag()
    stop.request("the end of the run")
    stop.request("something later")
    assert stop.reason == "the end of the run"


def agree(rank, world):
    with StopFlag() as stop:
        before = stop.agreed()
        if rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return before, stop.agreed(), stop.reason


@pytest.mark.ranks
def test_the_role_agrees():
    assert run_ranks(agree) == [
        (False, True, "another rank was asked to stop"),
        (False, True, "SIGUSR1"),
    ]


def test_exit_codes_tell_the_ends_apart():
    assert len({int(code) for code in ExitCode}) == 4
    assert ExitCode.DONE == 0


def test_a_second_sigterm_says_nothing_new():
    """torchrun, its launcher and the scheduler may each pass it on."""
    with StopFlag() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"


def test_whoever_has_nothing_to_save_leaves_at_once():
    stop = StopFlag()
    stop.leave_if_asked()
    stop.request("SIGTERM")
    with pytest.raises(
        AskedToLeave, match="SIGTERM before training had begun; there was nothing to save"
    ) as left:
        stop.leave_if_asked()
    assert left.value.exit_code == ExitCode.REQUEUE


def test_listening_begins_before_torch_is_imported():
    code = "import sys, tsal_dist.train; assert 'tsal_dist.dist.shutdown' in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
