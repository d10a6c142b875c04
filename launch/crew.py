"""One torchrun, from start to exit_status: a crew's processes on one machine.

python -m launch.crew --config configs/demo.toml --procs 3
python -m launch.crew --config configs/demo.toml --role teacher --procs 4 --nodes 2 --node-rank 1 --address host0

It runs wherever processes run: below `launch.local`, as a Slurm task, as a container's first process. SIGTERM,
SIGUSR1 and SIGINT ask the processes for a checkpoint and an orderly end; nothing that was started survives
this process.

Exit codes: 0 done; 1 failed; 2 the config or the resources are wrong, do not start again; 75 stopped when
asked to, start again.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from launch import exit_status, processes
from launch.other_launch import taken_over, turns_of
from launch.process_plan import (
    TRAIN,
    Crew,
    Meeting,
    alone_settings,
    crew_settings,
    plan_crews,
    torchrun_command,
)
from tsal_dist.cli import run_entry
from tsal_dist.config import RunConfig, load_config
from tsal_dist.dist.environment import child_environment
from tsal_dist.dist.parent_death import adopt_orphans
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import ExitCode
from tsal_dist.run import run_folder
from tsal_dist.run_dir import ROLES, RunDir, role_in_files

logger = logging.getLogger("launch.crew")

POLL_S = 0.1
TORCHRUN_PORT = 29500
# torchrun needs a moment after the last worker has left; killed before that it would look like a crash.
LEAVE_S = 10.0


def main(argv: list[str]) -> int:
    """Start the crew this machine was asked for and leave with its exit_status."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.crew",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_words(parser)
    parser.add_argument("--procs", type=int, required=True, help="processes on this machine")
    parser.add_argument("--role", choices=ROLES, default="", help="detached: the role of all of them")
    parser.add_argument(
        "--crew", default="", metavar="NAME", help="detached: which crew of teachers they are"
    )
    parser.add_argument(
        "--first-proc",
        type=int,
        default=0,
        help="detached: processes of other crews on this machine before these",
    )
    parser.add_argument("--nodes", type=int, default=1, help="machines of this crew")
    parser.add_argument("--node-rank", type=int, default=0, help="which of them this is, from 0")
    parser.add_argument("--address", default="", help="host name or address of machine 0")
    parser.add_argument("--port", type=int, default=TORCHRUN_PORT, help="a free port there")
    args = parser.parse_intermixed_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    config = load_config(args.config, args.overrides)
    in_files = role_in_files(args.role, args.crew)
    plays = (in_files,) if args.role else plan_crews(config, args.nodes, args.procs)[0].plays
    crew = Crew(args.role, plays, 0, args.nodes, args.procs, args.first_proc, args.crew)
    meeting = Meeting(args.node_rank, args.address, args.port)
    command = torchrun_command(crew, meeting, args.config, args.overrides, args.module)
    return run_crew(config, crew, command, args.interface)


def add_config_words(parser: argparse.ArgumentParser) -> None:
    """What every launcher says about the run, in the words that training itself understands."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="a config file; later ones win; repeatable",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="settings that win over the files"
    )
    parser.add_argument(
        "--interface",
        default="",
        help="network interface that gloo and NCCL use, such as eth0 (default: theirs)",
    )
    # For tests: a stand-in with the same command line as training.
    parser.add_argument("--module", default=TRAIN, help=argparse.SUPPRESS)


def crew_words(crew: Crew, args: argparse.Namespace) -> list[str]:
    """`crew` in this command's own words, with the config words of `args` passed on; meeting words left out."""
    words = [word for file in args.config for word in ("--config", file)]
    words += [f"--procs={crew.procs}"]
    words += [f"--role={crew.role}"] if crew.role else []
    words += [f"--crew={crew.name}"] if crew.name else []
    words += [f"--first-proc={crew.first_proc}"] if crew.first_proc else []
    words += [f"--nodes={crew.nodes}"] if crew.nodes > 1 else []
    words += [f"--interface={args.interface}"] if args.interface else []
    words += [f"--module={args.module}"] if args.module != TRAIN else []
    return [*words, *args.overrides]


def run_crew(config: RunConfig, crew: Crew, command: Sequence[str], interface: str = "") -> ExitCode:
    """Run `command` to its end, relaying signals, and find out how it ended."""
    run_dir = RunDir(run_folder(config))
    exit_status.clear_notes(run_dir, crew.plays)
    before = turns_of(run_dir, crew.plays)
    settings = crew_settings(config, crew, visible_gpus(), interface)
    # One thread per process is torchrun's own default, set here to spare its warning.
    defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment = child_environment(settings, defaults | alone_settings(crew))

    adopt_orphans()
    limits, relay = config.runtime.deadlines, Relay()
    deadline, patience_s = float("inf"), limits.shutdown_s
    try:
        torchrun = processes.start(command, environment)
        while torchrun.poll() is None and time.monotonic() < deadline:
            if relay.pending:
                logger.info("%s: asking the processes to save and leave", relay.pending)
                # torchrun waits shutdown_s for its workers; what is there after that has had its chance.
                patience_s = 0.0 if relay.urgent else LEAVE_S
                deadline = time.monotonic() + (0.0 if relay.urgent else limits.shutdown_s + LEAVE_S)
                relay.pending = ""
                processes.signal_group(torchrun, signal.SIGTERM)
            time.sleep(POLL_S)
        code = torchrun.poll()
    finally:
        # Workers outlive a torchrun that was killed: they may save, and then they end.
        processes.end_descendants(patience_s)
    if code == 0:
        return ExitCode.DONE
    # A note that another machine writes may take a moment to be seen here.
    wait_s = exit_status.NOTE_WAIT_S if crew.nodes > 1 else 0.0
    ending = exit_status.worst(
        exit_status.read_endings(run_dir, crew.plays, relay.requested, wait_s).values()
    )
    how = f"torchrun left with {code}" if code is not None else "torchrun did not end in time and was killed"
    logger.info("%s; %s: %s", how, ending.code.name.lower(), ending.reason)
    # On several machines a rank of our own may live a little longer.
    other = taken_over(run_dir, before, limits.beat_s) if crew.nodes == 1 and not relay.requested else ""
    if other:
        logger.error(
            "%s is at work in %s, started by another launch after this one: it goes on, and this one ends. "
            "Start a run once, and resume it when it has ended.",
            other,
            run_dir.root,
        )
        return ExitCode.WRONG_CONFIG
    return ending.code


class Relay:
    """Remembers that someone asked this process to stop. A second SIGINT means at once: a person presses it."""

    def __init__(self) -> None:
        self.pending = ""
        """The signal that has come and is not yet passed on."""
        self.requested = False
        self.urgent = False
        for number in StopFlag.SIGNALS:
            signal.signal(number, self._remember)
        # What came while this process started comes now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, StopFlag.SIGNALS)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.urgent |= number == signal.SIGINT and self.requested
        self.pending = signal.Signals(number).name
        self.requested = True


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as CUDA would name them."""
    chosen = child_environment({}).get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    return [str(index) for index, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]


if __name__ == "__main__":
    sys.exit(run_entry(main))
