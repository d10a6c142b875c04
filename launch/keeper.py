"""Keeping a crew going: start it, and start it again after a pause that grows with failures in a row."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from launch import processes
from tsal_dist.errors import ExitCode

logger = logging.getLogger("launch")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
HEALTHY_S = 600.0
"""A crew that lived this long was well: its next failure counts as the first one."""


@dataclass
class Patience:
    """Failures in a row, and what they allow."""

    limit: int
    failures: int = 0

    def pause_s(self, code: ExitCode, lived_s: float) -> float | None:
        """Seconds until the next start after an end with `code`; None where there is to be none.

        REQUEUE counts too: a crew that stops by itself again and again makes no headway.
        """
        if code in (ExitCode.DONE, ExitCode.WRONG_CONFIG):
            return None
        self.failures = 1 if lived_s >= HEALTHY_S else self.failures + 1
        if self.failures > self.limit:
            return None
        return float(min(FIRST_PAUSE_S * 2.0 ** (self.failures - 1), LONGEST_PAUSE_S))


class Keeper:
    """One crew and its process. Call `tend` often; `ending` is set when there will be no further start.

    The command is one of ours: signals are blocked until it listens to them (`processes.start`).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes],
        restarts: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.ending: ExitCode | None = None
        self._command, self._environment, self._output = command, environment, output
        self._patience, self._clock = Patience(restarts), clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at, self._next_start = 0.0, clock()
        self._retired = False

    def tend(self) -> None:
        """Start the crew when its time has come, and take note of its end."""
        if self.ending is not None:
            return
        if self._process is None:
            if self._clock() >= self._next_start:
                self._started_at = self._clock()
                self._process = processes.start(
                    self._command, self._environment, self._output, will_listen=True
                )
            return
        returned = self._process.poll()
        if returned is None:
            return
        self._process = None
        # A crew leaves with one of these codes by itself; anything else means that it was killed.
        code = ExitCode.of(returned)
        pause_s = self._patience.pause_s(code, self._clock() - self._started_at)
        if self._retired or pause_s is None:
            self.ending = code
            logger.info("%s ended: %s", self.name, code.name.lower())
            return
        self._next_start = self._clock() + pause_s
        logger.warning(
            "%s ended: %s; failure %d of at most %d in a row, starting again in %g s",
            *(self.name, code.name.lower(), self._patience.failures, self._patience.limit, pause_s),
        )

    def retire(self) -> None:
        """Start it no more."""
        self._retired = True
        if self._process is None and self.ending is None:
            self.ending = ExitCode.REQUEUE

    def ask_to_leave(self) -> None:
        """Ask for a checkpoint and an orderly end, the last one."""
        self.retire()
        if self._process is not None:
            processes.signal_group(self._process, signal.SIGTERM)
