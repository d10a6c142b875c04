"""Owning processes: whatever was started below this one ends with it, and nothing is ever found by its name.

torchrun gives every worker a session of its own, so a signal to torchrun's process group does not reach them,
and workers whose torchrun was killed live on. Linux can hand such orphans to the nearest ancestor that asks
for them; then the parent-child links alone say what is ours. Elsewhere only process groups are left.
"""

import os
import signal
import subprocess
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.dist.shutdown import StopFlag

PROC = Path("/proc")
POLL_S = 0.05


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes] | None = None,
    *,
    will_listen: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a session of its own; it gets SIGTERM should this process die.

    Its own session keeps a terminal's Ctrl-C away from it: the caller relays signals and decides which. A command of ours,
    which `will_listen`, is not told before it can: what is asked of it while Python starts waits until it unblocks these
    signals. Not for torchrun: it unblocks nothing, and would pass its mask on to every worker.
    """

    def prepare() -> None:
        die_with_parent()
        if will_listen:
            signal.pthread_sigmask(signal.SIG_BLOCK, StopFlag.SIGNALS)

    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=prepare,  # safe: it takes no lock that another thread might hold
    )


def descendants(root: int | None = None) -> list[int]:
    """The processes below `root` (this one), parents first."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _table():
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [os.getpid() if root is None else root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def end_descendants(grace_s: float) -> None:
    """Ask everything below this process to leave; kill what has not after `grace_s`; reap all of it."""
    _signal_all(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while descendants() and time.monotonic() < deadline:
        reap()
        time.sleep(POLL_S)
    # A process that is killed may just have started another: repeat until none is left.
    while descendants():
        _signal_all(signal.SIGKILL)
        reap()
        time.sleep(POLL_S)
    reap()


def reap(spare: Container[int] = ()) -> None:
    """Take the exit status of adopted processes, so that they do not stay as zombies.

    `spare` those that a Popen still asks for: it takes a status that is gone for success.
    """
    for pid, parent, state in _table():
        if parent == os.getpid() and state == "Z" and pid not in spare:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal the session that `start` made, if its first process is still there."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _table() -> Iterator[tuple[int, int, str]]:
    """Every process, its parent and its state."""
    for entry in PROC.glob("[0-9]*/stat"):
        # A process may leave between the listing and the reading.
        with suppress(OSError):
            # The name in parentheses may hold anything, so count fields from the last parenthesis.
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            yield int(entry.parent.name), int(parent), state


def _signal_all(number: signal.Signals) -> None:
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
