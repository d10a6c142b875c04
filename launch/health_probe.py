"""Is this container's training alive? Exit code 0 if so; for Kubernetes probes and Docker's HEALTHCHECK.

python -m launch.health_probe runs/demo        one run
python -m launch.health_probe runs             whichever runs there train on this host

Training leaves heartbeats in the run directory. One of this host counts from its first change on, and must then
change again within --silent-s. Neither file times nor other hosts' clocks are looked at: what was seen when, by
this host's monotonic clock, is kept from one call to the next in a file of the container.
"""

import argparse
import hashlib
import json
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tsal_dist.cli import run_entry
from tsal_dist.errors import ExitCode
from tsal_dist.exchange.beat import read_beat
from tsal_dist.json_object import read_object
from tsal_dist.run_dir import DONE, RunDir, write_whole


@dataclass(frozen=True)
class Sight:
    """A heartbeat as an earlier call saw it."""

    digest: str
    at_s: float
    """When it was first seen like this."""
    moved: bool
    """Whether it has changed before our eyes: until then it may be a dead process's last."""


def main(argv: list[str]) -> int:
    """Look, compare with the last look, and tell."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.health_probe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a run directory, or the folder of several")
    parser.add_argument(
        "--silent-s", type=float, default=60.0, help="runtime.deadlines.silent_s (default: 60)"
    )
    parser.add_argument(
        "--memory",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tsal-probe.json",
        help="file of earlier sights",
    )
    args = parser.parse_args(argv)
    now_s = time.monotonic()
    sights = look(read_beats(args.folder, socket.gethostname()), _recall(args.memory), now_s)
    write_whole(args.memory, json.dumps({name: asdict(sight) for name, sight in sights.items()}).encode())
    fault = judge(sights, now_s, args.silent_s)
    sys.stdout.write((fault or "alive") + "\n")
    return ExitCode.FAILED if fault else ExitCode.DONE


def read_beats(folder: Path, host: str) -> dict[str, bytes]:
    """The heartbeats that processes on `host` have left, and not said goodbye with."""
    beats = {}
    files = [path for run in (folder, *folder.glob("*")) for path in RunDir(run).beats.glob("*.json")]
    for path in sorted(files):
        raw = path.read_bytes()
        beat = read_beat(raw)  # none where someone waits for a first one
        if beat and beat.host == host and beat.phase != DONE:
            beats[str(path)] = raw
    return beats


def look(beats: dict[str, bytes], before: dict[str, Sight], now_s: float) -> dict[str, Sight]:
    """What is seen now, in the light of what was seen before."""
    sights = {}
    for name, raw in beats.items():
        digest, last = hashlib.sha256(raw).hexdigest(), before.get(name)
        if last is not None and last.digest == digest:
            sights[name] = last
        else:
            sights[name] = Sight(digest, now_s, moved=last is not None)
    return sights


def judge(sights: dict[str, Sight], now_s: float, silent_s: float) -> str:
    """What is wrong, or "" if nothing is."""
    moved = {name: sight for name, sight in sights.items() if sight.moved}
    if not moved:
        return "no heartbeat of this host has changed yet"
    silent = [name for name, sight in moved.items() if now_s - sight.at_s > silent_s]
    return f"silent for more than {silent_s:g} s: {', '.join(silent)}" if silent else ""


def _recall(memory: Path) -> dict[str, Sight]:
    try:
        return {name: Sight(**sight) for name, sight in read_object(memory.read_bytes()).items()}
    except (FileNotFoundError, ValueError, TypeError):
        return {}  # as if nothing had been seen before


if __name__ == "__main__":
    sys.exit(run_entry(main))
