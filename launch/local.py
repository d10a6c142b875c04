"""Train on this machine: start every role, keep it going, leave nothing behind.

python -m launch.local --config configs/demo.toml --procs 3
python -m launch.local --config configs/demo.toml --topology detached runtime.teachers=2 --crews 2
python -m launch.local --config configs/demo.toml --crew night

A role that fails is started again from its last checkpoint, after a pause that grows, up to a limit. In
`split` that is the whole world; in `detached` the student goes on while a teacher is down, and goes on without
one that is given up. --crew starts a crew of teachers alone, which joins a run that is going. Ctrl-C, SIGTERM and SIGUSR1 ask for a checkpoint; a second Ctrl-C ends at once. What the
processes print is kept in the run's logs/ folder.

Exit codes are the student's, or the crew's that joined: 0 done; 1 failed more often than the limit; 2 the config, the resources or the
run directory must be changed first; 75 stopped when asked to, go on with --resume.
"""

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Sequence

from launch import processes
from launch.crew import LEAVE_S, Relay, add_config_words, crew_words
from launch.keeper import Keeper
from launch.logs import Log
from launch.process_plan import Crew, default_procs, plan_crew, plan_crews
from tsal_dist.cli import run_entry
from tsal_dist.config import RunConfig, load_config
from tsal_dist.dist.environment import child_environment
from tsal_dist.dist.parent_death import adopt_orphans
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.run import Mode, Origin, Run, open_run, run_folder
from tsal_dist.run_dir import RunDir

logger = logging.getLogger("launch")

POLL_S = 0.1


def main(argv: list[str]) -> int:
    """Plan, open the run, and keep its crews going."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_words(parser)
    add_mode_words(parser)
    parser.add_argument(
        "--topology", choices=("split", "detached", "inline"), help="short for runtime.topology=..."
    )
    parser.add_argument("--procs", type=int, help="processes in all (default: one student and the teachers)")
    add_crew_words(parser)
    parser.add_argument(
        "--restarts", type=int, default=3, help="how often in a row a role may fail (default: 3)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands and start nothing")
    args = parser.parse_intermixed_args(argv)

    if args.topology:
        args.overrides.append(f"runtime.topology={args.topology}")
    config = load_config(args.config, args.overrides)
    procs = (1 if args.crew else default_procs(config)) if args.procs is None else args.procs
    crews = chosen_crews(config, args, 1, procs)
    commands = {crew: [sys.executable, "-m", "launch.crew", *crew_words(crew, args)] for crew in crews}
    if args.dry_run:
        for command in commands.values():
            sys.stdout.write(shlex.join(command) + "\n")
        return ExitCode.DONE

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    # Opened here, once: every start after that, the first included, takes the run up.
    run = open_chosen(config, args)
    logger.info("run %s; logs in %s", run.dir.root, run.dir.root / "logs")
    logs = {
        crew: Log(
            run.dir.launcher(f"{crew.in_files or 'world'}.log"),
            f"[{crew.in_files}] " if crew.role else "",
        )
        for crew in crews
    }
    keepers = [
        Keeper(crew.in_files or "the world", command, child_environment({}), logs[crew].file, args.restarts)
        for crew, command in commands.items()
    ]
    try:
        return keep_going(config, keepers, list(logs.values()))
    finally:
        for log in logs.values():
            log.close()


def add_mode_words(parser: argparse.ArgumentParser) -> None:
    """What to do with a run that is already there."""
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on from the run's last checkpoint, if it has one"
    )
    existing.add_argument(
        "--clean", action="store_true", help="delete the run that is already there and start anew"
    )


def add_crew_words(parser: argparse.ArgumentParser) -> None:
    """Several crews of teachers, from the start or later."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--crews", type=int, default=1, help="detached: crews that the teachers are divided into (default: 1)"
    )
    which.add_argument(
        "--crew",
        default="",
        metavar="NAME",
        help="start this crew of teachers alone, beside a run that is there",
    )


def chosen_crews(config: RunConfig, args: argparse.Namespace, nodes: int, procs: int) -> tuple[Crew, ...]:
    """The crews that `add_crew_words` understood."""
    if not args.crew:
        return plan_crews(config, nodes, procs, args.crews)
    return (plan_crew(config, args.crew, nodes, procs),)


def chosen_mode(args: argparse.Namespace) -> Mode:
    """The mode that `add_mode_words` understood."""
    return "clean" if args.clean else "resume" if args.resume else "new"


def open_chosen(config: RunConfig, args: argparse.Namespace) -> Run:
    """Open the run as asked; one that a crew joins is there, and stays. Its processes take it up, with the settings that follow
    from its shards: what is written down here has to have them."""
    from tsal_dist.runs.follow_shards import follow_shards  # here: --dry-run has no use for it

    config = follow_shards(config)
    if not args.crew:
        return open_run(config, chosen_mode(args), lambda: _find_origin(config))
    folder = run_folder(config)
    if args.clean or not RunDir(folder).run_json.exists():
        raise ConfigError(
            f"--crew {args.crew} joins a run, and {folder} {'would be deleted' if args.clean else 'holds none'}. Start the "
            f"run first, without --crew and for the same run.dir."
        )
    return open_run(config, "resume")


def _find_origin(config: RunConfig) -> Origin | None:
    """Processes find a run, and would begin from nothing where nobody has written down what it begins from."""
    if not (config.runtime.fork or config.runtime.replay):
        return None  # most runs: what follows takes seconds to import
    from tsal_dist.runs.build import settle_method
    from tsal_dist.runs.fork import find_origin

    return find_origin(settle_method(config))


def keep_going(config: RunConfig, keepers: Sequence[Keeper], logs: Sequence[Log]) -> ExitCode:
    """Keep every crew going until the first one, the student's, has ended for good; then end the others."""
    student, *others = keepers
    shutdown_s = config.runtime.deadlines.shutdown_s
    deadline = float("inf")
    adopt_orphans()
    relay = Relay()
    try:
        while not all(keeper.ending is not None for keeper in keepers) and time.monotonic() < deadline:
            for keeper in keepers:
                keeper.tend()
            if relay.pending:
                logger.info("%s: saving and leaving; Ctrl-C ends at once", relay.pending)
                # A crew gives torchrun the first of these spans and cleans up in the others.
                deadline = 0.0 if relay.urgent else time.monotonic() + shutdown_s + 3 * LEAVE_S
                relay.pending = ""
                for keeper in keepers:
                    keeper.ask_to_leave()
            elif student.ending is not None and deadline == float("inf"):
                # A teacher reads of the student's success in the run directory and leaves by itself.
                deadline = time.monotonic() + shutdown_s
                for keeper in others:
                    if student.ending == ExitCode.DONE:
                        keeper.retire()
                    else:
                        keeper.ask_to_leave()
            for log in logs:
                log.follow()
            time.sleep(POLL_S)
    finally:
        processes.end_descendants(0.0 if relay.urgent else LEAVE_S)
    return student.ending if student.ending is not None else ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(run_entry(main))
