"""A tracking service as a sink. What is written goes to the JSONL file alone; a process beside the role tells the service.

So a service that is slow, away or broken costs the role nothing. The process ends of what goes wrong, that is said once,
and it is started again now and then: what the service has missed it is told later, by a resumed run at the latest.
"""

import logging
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import Literal

from tsal_dist.clock import Clock, MonotonicClock
from tsal_dist.dist.environment import child_environment
from tsal_dist.errors import MissingExtra
from tsal_dist.observe.services import LEAVE_S
from tsal_dist.run_dir import RunDir

log = logging.getLogger(__name__)

RETRY_S, MOST_RETRY_S = 60.0, 960.0
"""Time until a service that failed is tried again, twice as long each time."""
WAIT_S = 2.0 * LEAVE_S
"""So long a role waits for the process to leave before it ends it."""
SETTINGS = {
    # Only the chosen service is told: not the packages' authors.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    # A failure is better known soon: it is tried again anyway.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class ServiceSink:
    """Has a service told of one role's metrics; open the JSONL file's sink beside it."""

    def __init__(
        self,
        run_dir: RunDir,
        role: str,
        service: Literal["wandb", "mlflow"],
        project: str,
        clock: Clock | None = None,
    ) -> None:
        spec = find_spec(service)
        if spec is None or spec.origin is None:  # any folder of that name has a spec, such as W&B's own
            raise MissingExtra(service, service, f"runtime.log.{service}")
        self._what = (service, str(run_dir.root), role, project)
        self._word = run_dir.forwarding(service, role, "log")
        self._clock = clock or MonotonicClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._retry_s = RETRY_S
        self._next_s = 0.0
        self._said = False
        self._start()

    def write(self, step: int, numbers: object) -> None:
        """See that the process is alive: it reads the numbers from the file."""
        self._look()
        if self._process is None and self._clock.now_s() >= self._next_s:
            self._start()

    def close(self) -> None:
        """Let the process tell the rest, within a time. One that fails meanwhile is started once more: the service may be
        back, and this is the last chance for now."""
        until_s = self._clock.now_s() + WAIT_S
        if not self._told_the_rest(until_s):
            self._told_the_rest(until_s)

    def _told_the_rest(self, until_s: float) -> bool:
        self._look()
        if self._process is None:
            self._start()
        process = self._process
        if process is None:
            return False
        _close_input(process)
        try:
            process.wait(max(0.0, until_s - self._clock.now_s()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._warn(f"it did not take the rest within {WAIT_S:g} s")
            self._process = None
            return True  # there is no time left to try
        self._look()
        return process.returncode == 0

    def _start(self) -> None:
        try:
            self._word.unlink(missing_ok=True)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tsal_dist.observe.forward", *self._what],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment({}, SETTINGS),
                start_new_session=True,  # Ctrl-C is the role's to answer
            )
        except OSError as error:
            self._put_off(str(error))

    def _look(self) -> None:
        """Take notice of a process that has ended."""
        process = self._process
        if process is None or process.poll() is None:
            return
        self._process = None
        _close_input(process)
        if process.returncode:
            self._put_off(self._reason(process.returncode))

    def _put_off(self, reason: str) -> None:
        self._warn(reason)
        self._next_s = self._clock.now_s() + self._retry_s
        self._retry_s = min(2 * self._retry_s, MOST_RETRY_S)

    def _reason(self, code: int) -> str:
        try:
            return self._word.read_text(errors="replace").partition("\n")[0]
        except OSError:
            return f"its process ended with code {code}"

    def _warn(self, reason: str) -> None:
        if not self._said:
            log.warning(
                "%s is not told of this run for now; the run goes on: %s. It is tried again, and every number is in metrics/.",
                self._what[0],
                reason.rstrip("."),
            )
        self._said = True


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
