"""One machine's share of a trial: it keeps `launch.crew` processes, relays what they are asked, and outlives none.

An instance lives as a Ray actor in one bundle of the trial's placement group. Nothing here knows Ray: the actor's
process is the parent of the crews, and when it dies, by whatever hand, they save and leave.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch import processes
from launch.sweep.die_with_parent import ending_with_this_process
from tsal_dist.dist.environment import child_environment
from tsal_dist.dist.parent_death import adopt_orphans

POLL_S = 0.1


class Machine:
    """What a trial has on one node."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        for needed in (root / "launch", folder):
            if not needed.is_dir():
                raise FileNotFoundError(
                    f"{socket.gethostname()} does not see {needed}. The repository and the sweep's folder must lie on "
                    f"a filesystem that every node of the cluster sees, under the same path."
                )
        # Whatever falls off a crew that is killed becomes this process's to end.
        adopt_orphans()
        self._crews: dict[str, subprocess.Popen[bytes]] = {}

    def free_port(self) -> int:
        """A port that nobody listens on."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            return int(listener.getsockname()[1])

    def start(self, name: str, words: Sequence[str], log: Path, settings: Mapping[str, str]) -> int:
        """Start a crew by launch.crew's `words`; its process id."""
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ending_with_this_process([sys.executable, "-m", "launch.crew", *words])
        with open(log, "ab", buffering=0) as output:
            self._crews[name] = subprocess.Popen(
                command,
                cwd=self._root,
                env=child_environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._crews[name].pid

    def poll(self) -> dict[str, int | None]:
        """Exit codes by crew; None for one that runs."""
        return {name: crew.poll() for name, crew in self._crews.items()}

    def end(self, patience_s: float) -> int:
        """Ask every crew to save and leave, and end what has not after `patience_s`; how many had to be ended."""
        for crew in self._crews.values():
            processes.signal_group(crew, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while any(code is None for code in self.poll().values()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        left = len(processes.descendants(os.getpid()))
        processes.end_descendants(0.0)
        return left
