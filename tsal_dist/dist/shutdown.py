"""Leaving in good order: a signal sets a flag, the role agrees on it, the exit code says what comes next.

A handler that does work can strike in the middle of a collective or a write, and what it raises in the midst of an
import or a destructor is lost. So it only remembers, and every loop of a role that takes steps or waits polls
`requested`; what a step brings with it, such as an evaluation, is finished before. A process listens before it
imports what takes time, and asks where it is safe to leave while it starts: it has nothing to save yet
(`leave_if_asked`). Before Python has come to that the system ends it, as it ends whatever does not listen; a launcher
that wants to miss nothing starts it with the signals blocked (`launch.processes.start`), which keeps them until this
page listens. Signals reach ranks one by one: before acting on the flag the ranks of a role agree, or one would leave
a collective that the others wait in.

torchrun passes SIGTERM on to its workers and is killed by SIGUSR1, so a scheduler's early warning to torchrun
must be SIGTERM; SIGUSR1 is for whoever signals the ranks themselves. It also turns every exit code of a worker
into its own 1: a launcher that wants to know more reads the exit note in the run directory.
"""

import signal
from types import FrameType, TracebackType
from typing import Any

from tsal_dist.errors import AskedToLeave

OTHER_RANK = "another rank was asked to stop"


class StopFlag:
    """Listens for SIGTERM, SIGUSR1 and SIGINT within a `with` block; the main thread's, as Python demands.

    A second SIGINT interrupts at once: a person who presses Ctrl-C twice means it. A second SIGTERM says nothing new:
    torchrun, a launcher and a scheduler pass the same one on.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return bool(self.reason)

    def request(self, reason: str) -> None:
        """Ask from within, for example when the scheduler's time is nearly over."""
        self.reason = self.reason or reason

    def agreed(self) -> bool:
        """Whether any rank of the role was asked to stop; a collective, so every rank calls it."""
        from tsal_dist.dist.collectives import any_rank  # here: whoever listens has not imported torch yet

        if any_rank(self.requested):
            self.request(OTHER_RANK)
        return self.requested

    def leave_if_asked(self) -> None:
        """Raise AskedToLeave where this process was asked to stop, and has nothing to save yet."""
        if self.requested:
            raise AskedToLeave(f"{self.reason} before training had begun; there was nothing to save.")

    def __enter__(self) -> "StopFlag":
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._remember)
        # What came while a launcher had them blocked comes now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        # No logging here: the handler may strike while the log's lock is held.
        self.request(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
