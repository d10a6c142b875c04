"""Train: one process of a run. torchrun starts as many as the topology needs.

torchrun --nproc-per-node 3 -m tsal_dist.train --config configs/demo.toml
python -m tsal_dist.train --config configs/demo.toml runtime.topology=inline
python -m tsal_dist.train --resume runs/demo
python -m tsal_dist.train --resume runs/demo train.steps=1000
python -m tsal_dist.train --from runs/demo --step 400 run.dir=runs/demo-fork method.name=companions
python -m tsal_dist.train --replay-plan runs/demo run.dir=runs/demo-again
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import program, run_entry
from tsal_dist.config import RunConfig, load_config
from tsal_dist.config.load import override
from tsal_dist.dist.environment import Environment, read_environment
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat, plan_seats
from tsal_dist.errors import AskedToLeave, ConfigError, ExitCode
from tsal_dist.run import Mode, load_run, run_folder
from tsal_dist.run_dir import RunDir

if TYPE_CHECKING:
    from tsal_dist.recipes.api import Recipe


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="a config file; later ones win; repeatable",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on from the last checkpoint of the run in this folder, with its settings; without a folder, of the "
        "run that the settings name. train.steps may grow",
    )
    add_start(parser, existing)
    another_run = parser.add_mutually_exclusive_group()
    another_run.add_argument(
        "--replay-plan",
        metavar="RUN",
        help="students alone, trained once more by a finished run's plans and labels; the config is that run's",
    )
    another_run.add_argument(
        "--offline",
        action="append",
        metavar="RUN",
        help="students alone, taught by the label log of another run; repeatable",
    )
    parser.add_argument(
        "--from",
        dest="fork",
        metavar="RUN",
        help="a new run that begins from a checkpoint of this one, by its config unless there is another; name another "
        "place for it (run.dir=...)",
    )
    parser.add_argument("--step", metavar="N", help="with --from: last, best by validation, or a step (last)")
    parser.add_argument(
        "--profile",
        type=int,
        metavar="N",
        help="watch N steps of student 0 with torch's profiler (runtime.log.profile)",
    )
    return parser


def add_start(parser: argparse.ArgumentParser, existing: argparse._ActionsContainer) -> None:
    """The words of everything that trains: what becomes of a run that is there, what is only shown, and settings."""
    parser.set_defaults(resume=None)  # not every page has that flag
    existing.add_argument(
        "--resume-or-start",
        action="store_true",
        help="go on where there is a run, and start it where there is none: for launchers",
    )
    existing.add_argument(
        "--clean", action="store_true", help="delete the run that is already there and start anew"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved config and the role map, start nothing"
    )
    parser.add_argument(
        "--rates",
        metavar="FILE",
        help="with --dry-run: refuse a config that starves its devices, by these rates of tools/plan.py --rates",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="settings that win over the others"
    )


def main(argv: list[str]) -> int:
    """Parse, plan, and hand over to the loop of this process's role."""
    # The two kinds of words may stand in any order: launchers append overrides, people append flags.
    args = build_parser().parse_intermixed_args(argv)
    if args.resume and "=" in args.resume and not Path(args.resume).exists():
        # `--resume section.key=value`: the word after the flag was a setting.
        args.overrides, args.resume = [args.resume, *args.overrides], ""

    return start(_config(args), args)


def start(config: RunConfig, args: argparse.Namespace) -> int:
    """One process of this run; `args` has the flags of `add_start`."""
    if args.dry_run:
        _dry_run(config, args)
        return ExitCode.DONE
    with StopFlag() as stop:  # before what takes seconds is imported
        return _train(config, args, stop)


def _train(config: RunConfig, args: argparse.Namespace, stop: StopFlag) -> ExitCode:
    environment = read_environment()
    seats = plan_seats(config.runtime, environment.world, environment.local_world, config.has_teacher)
    mode = _mode(args)
    if args.resume is not None and environment.restart_count == 0 and environment.rank == 0:
        before = load_run(run_folder(config)).config  # nothing there is a mistake in the name, not a new run
        if config.train.steps > before.train.steps:
            sys.stderr.write(f"train.steps was {before.train.steps} and is {config.train.steps} now.\n")

    from tsal_dist.runs.process import train

    try:
        code, why = train(config, environment, seats, mode, stop), "Everything is saved."
    except AskedToLeave as asked:
        code, why = asked.exit_code, str(asked)
    if code == ExitCode.REQUEUE and environment.rank == 0:
        again = "torchrun ... -m tsal_dist.train" if environment.launched else "python -m tsal_dist.train"
        words = f"Go on with: {again} --resume {run_folder(config)}"
        there = RunDir(run_folder(config)).run_json.exists()
        sys.stderr.write(f"{why} {words if there else 'The same command starts again.'}\n")
    return code


def _dry_run(config: RunConfig, args: argparse.Namespace) -> None:
    environment = read_environment()
    seats = plan_seats(config.runtime, environment.world, environment.local_world, config.has_teacher)
    if environment.rank == 0:
        from tsal_dist.runs.build import build_recipe, build_task, settle_method
        from tsal_dist.runs.follow_shards import follow_shards
        from tsal_dist.runs.fork import describe_fork

        config = follow_shards(settle_method(config))  # as a process does
        recipe = build_recipe(config, build_task(config))
        fork = describe_fork(config, recipe)
        _show(config, environment, seats, recipe, args.rates, {"from": fork} if fork else {})


def _mode(args: argparse.Namespace) -> Mode:
    if args.clean:
        return "clean"
    return "resume" if args.resume is not None or args.resume_or_start else "new"


def _config(args: argparse.Namespace) -> RunConfig:
    """The settings, with what the flags for learning at second hand mean."""
    overrides = list(args.overrides)
    if args.profile is not None:
        overrides.append(f"runtime.log.profile={args.profile}")
    if args.replay_plan or args.offline:
        overrides += [
            f"runtime.replay={json.dumps(args.replay_plan or '')}",
            f"runtime.offline={json.dumps(args.offline or [])}",
            "runtime.topology=split",
            "runtime.role=",
        ]
    if args.step is not None and not args.fork:
        raise ConfigError(
            f"--step {args.step} says where a run begins that begins from another. Name that run (--from)."
        )
    if args.fork and args.replay_plan:
        raise ConfigError(
            f"--replay-plan {args.replay_plan} begins where that run began, and --from {args.fork} somewhere else. Choose one."
        )
    if args.fork:
        overrides.append("runtime.replay=")
        overrides += [
            f"runtime.fork={json.dumps(args.fork)}",
            f"runtime.fork_step={json.dumps(args.step or 'last')}",
        ]
    if args.resume and not args.config:
        folder = f"run.dir={json.dumps(args.resume)}"
        return override(load_run(args.resume).config, folder, *overrides)
    if args.resume:
        overrides.append(f"run.dir={json.dumps(args.resume)}")
    if args.replay_plan and not args.config:
        return override(load_run(args.replay_plan).config, *overrides)
    if args.fork and not args.config:
        return override(load_run(args.fork).config, *overrides)
    return load_config(args.config, overrides)


def _show(
    config: RunConfig,
    environment: Environment,
    seats: tuple[Seat, ...],
    recipe: "Recipe",
    rates_file: str | None,
    more: dict[str, Any],
) -> None:
    from tsal_dist.planning.demand import describe_demand
    from tsal_dist.planning.memory import need_of

    tracks = any(source.reading == "track" for source in recipe.sources)
    plan = {
        "config": config.model_dump(mode="json"),
        "processes": [{"process": rank, **asdict(seat)} for rank, seat in enumerate(seats)],
        "started_by_torchrun": environment.launched,
        "per_rank": describe_demand(config, tracks),
        "memory_per_student": need_of(config).describe(),
        "bytes_per_label": recipe.bytes_per_label(config.model.num_points),
        **more,
    }
    if rates_file:
        plan["supply"] = _supply(config, seats, tracks, rates_file)
    sys.stdout.write(json.dumps(plan, indent=1) + "\n")


def _supply(config: RunConfig, seats: tuple[Seat, ...], tracks: bool, file: str) -> list[dict[str, Any]]:
    """What each device is fed with; raises where that is far too little, and warns where it is too little."""
    from tsal_dist.planning.supply import check_supplies, describe_supplies, find_supplies, load_rates

    teachers = sum(seat.role == "teacher" for seat in seats)
    supplies = find_supplies(config, load_rates(file), len(seats) - teachers, teachers, tracks)
    for words in check_supplies(supplies):
        sys.stderr.write(f"warning: {words}\n")
    return list(describe_supplies(supplies))


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
