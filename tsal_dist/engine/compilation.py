"""What DeepSpeed compiles at its first use, and who waits for it: a process that is killed meanwhile leaves its lock behind.

torch waits for such a lock for ever and says nothing: every later start on this machine would hang, whatever run it is of.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tsal_dist.errors import TrainingError

LONGEST_S = 900.0
"""No compilation of one operator takes longer, on the slowest machine."""
POLL_S = 1.0


def wait_for_compilations(
    folder: Path, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return when nobody compiles below `folder`; TrainingError where a lock is too old for anybody to be behind it."""
    while locks := [*folder.glob("deepspeed_*/lock"), *folder.glob("*/deepspeed_*/lock")]:
        for lock in locks:
            _refuse_dead(lock, clock)
        sleep(POLL_S)


def _refuse_dead(lock: Path, clock: Callable[[], float]) -> None:
    try:
        age_s = clock() - lock.stat().st_mtime
    except FileNotFoundError:
        return  # compiled
    if age_s > LONGEST_S:
        raise TrainingError(
            f"{lock} says that a process compiles an operator of DeepSpeed, and it has said so for {age_s / 60:.0f} minutes: "
            f"that process was killed, and torch would wait for it for ever. Remove that file."
        )
