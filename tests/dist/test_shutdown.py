"""A signal is remembered, not acted on; one rank's flag becomes the role's."""

import os
import signal
import subprocess
import sys
import threading

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


def test_listening_begins_before_anything_is_imported_that_takes_time():
    """Whoever asks while Python itself starts is not heard: what is ours must not make that any longer."""
    code = """
import sys, tsal_dist.train
assert 'tsal_dist.dist.shutdown' in sys.modules
slow = {'torch', 'numpy', 'pydantic', 'tsal_dist.config'} & sys.modules.keys()
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_signals_that_a_launcher_held_back_are_heard():
    """Blocked, they wait, also across exec; and a child of ours is not to inherit the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, StopFlag.SIGNALS)
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # other threads here have not blocked it
        with StopFlag() as stop:
            assert stop.reason == "SIGTERM"
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(StopFlag.SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_training_process_that_was_asked_before_it_began_says_so(tmp_path):
    """The signal is there before the first line of Python."""

    def hold_back_and_ask():
        signal.pthread_sigmask(signal.SIG_BLOCK, StopFlag.SIGNALS)
        os.kill(os.getpid(), signal.SIGTERM)

    words = ["runtime.topology=inline", "data.labelled=shards/none", f"run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "tsal_dist.train", *words],
        preexec_fn=hold_back_and_ask,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == ExitCode.REQUEUE, done.stderr
    assert (
        "SIGTERM before training had begun; there was nothing to save. The same command starts again."
        in done.stderr
    )
    assert not (tmp_path / "run").exists()
