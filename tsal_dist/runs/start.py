"""A training command, once it listens to signals: its settings, its seats, and the process that plays one of them.

Imported when `train.main` listens, as this page needs the config's classes, and what it hands over to needs torch.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tsal_dist.config import RunConfig, load_config
from tsal_dist.config.load import override, to_override
from tsal_dist.dist.environment import Environment, read_environment
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import Seat, plan_seats
from tsal_dist.errors import AskedToLeave, ConfigError, ExitCode
from tsal_dist.run import Mode, load_run, refuse_living, run_folder
from tsal_dist.run_dir import RunDir, plainly

if TYPE_CHECKING:
    from tsal_dist.recipes.api import Recipe


def chosen_config(args: argparse.Namespace) -> RunConfig:
    """The settings, with what the flags for learning at second hand mean."""
    overrides = list(args.overrides)
    if args.profile is not None:
        overrides.append(f"runtime.log.profile={args.profile}")
    if args.replay_plan or args.offline:
        overrides += [
            to_override("runtime.replay", args.replay_plan or ""),
            to_override("runtime.offline", args.offline or []),
            "runtime.topology=split",
            "runtime.role=",
            "runtime.crew=",
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
        overrides += [
            "runtime.replay=",
            to_override("runtime.fork", args.fork),
            to_override("runtime.fork_step", args.step or "last"),
        ]
    if args.resume and not args.config:
        return override(load_run(args.resume).config, to_override("run.dir", args.resume), *overrides)
    if args.resume:
        overrides.append(to_override("run.dir", args.resume))
    if args.replay_plan and not args.config:
        return override(load_run(args.replay_plan).config, *overrides)
    if args.fork and not args.config:
        return override(load_run(args.fork).config, *overrides)
    return load_config(args.config, overrides)


def start(config: RunConfig, args: argparse.Namespace, stop: StopFlag) -> ExitCode:
    """One process of this run; `args` has the flags of `train.add_start`."""
    if args.dry_run:
        stop.leave_if_asked()
        _dry_run(config, args)
        return ExitCode.DONE
    return _train(config, args, stop)


def _train(config: RunConfig, args: argparse.Namespace, stop: StopFlag) -> ExitCode:
    environment = read_environment()
    seats = plan_seats(config.runtime, environment.world, environment.local_world, config.has_teacher)
    mode = _mode(args)
    run_json = RunDir(run_folder(config)).run_json
    with plainly("read", run_json):
        there = mode == "resume" and run_json.exists()
    if (args.resume is not None or there) and environment.restart_count == 0 and environment.rank == 0:
        before = load_run(run_folder(config)).config  # nothing there is a mistake in the name, not a new run
        if config.train.steps > before.train.steps:
            sys.stderr.write(f"train.steps was {before.train.steps} and is {config.train.steps} now.\n")

    from tsal_dist.runs.process import train

    try:
        if args.resume is not None:
            _refuse_second(config, seats[environment.rank], environment.rank == 0, stop)
        code, why = train(config, environment, seats, mode, stop), "Everything is saved."
    except AskedToLeave as asked:
        code, why = asked.exit_code, str(asked)
    if code == ExitCode.REQUEUE and environment.rank == 0:
        again = "torchrun ... -m tsal_dist.train" if environment.launched else "python -m tsal_dist.train"
        words = f"Go on with: {again} --resume {run_folder(config)}"
        there = RunDir(run_folder(config)).run_json.exists()
        sys.stderr.write(f"{why} {words if there else 'The same command starts again.'}\n")
    return code


def _refuse_second(config: RunConfig, seat: Seat, first: bool, stop: StopFlag) -> None:
    """Raise where a run that a person wants to go on with is going on: it would lose all since its last checkpoint. Launchers,
    which have reasons to take one over, say `--resume-or-start`. At every attempt, as torchrun tries again what is refused. Each
    process looks for the one in its own seat, or it would end that one; the `first` for any, as seats may have changed."""
    anybody = first and config.runtime.topology != "detached"
    names = () if anybody else (f"{seat.name}-{seat.rank}",)
    instead = "take it over: the command that started it, with --resume-or-start"
    refuse_living("--resume", RunDir(run_folder(config)), config, instead, stop.leave_if_asked, names)


def _dry_run(config: RunConfig, args: argparse.Namespace) -> None:
    environment = read_environment()
    seats = plan_seats(config.runtime, environment.world, environment.local_world, config.has_teacher)
    if environment.rank == 0:
        from tsal_dist.runs.build import build_recipe, build_task, settle_method
        from tsal_dist.runs.build_staleness import build_staleness, require_young_labels
        from tsal_dist.runs.follow_shards import follow_shards
        from tsal_dist.runs.fork import describe_fork

        config = follow_shards(settle_method(config))  # as a process does
        recipe = build_recipe(config, build_task(config))
        require_young_labels(config, build_staleness(config, recipe))
        fork = describe_fork(config, recipe)
        _show(config, environment, seats, recipe, args.rates, {"from": fork} if fork else {})


def _mode(args: argparse.Namespace) -> Mode:
    if args.clean:
        return "clean"
    return "resume" if args.resume is not None or args.resume_or_start else "new"


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
