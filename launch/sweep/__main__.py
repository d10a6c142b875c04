"""Search settings: every trial is a whole training run, placed and stopped by Ray Tune.

python -m launch.sweep --config configs/demo.toml --sweep configs/sweeps/demo.toml
python -m launch.sweep --config configs/demo.toml --sweep configs/sweeps/consistency.toml --trials 8 --dry-run

The sweep file says what is searched, how, and on what; docs/sweeps.md explains it. Everything is checked before
anything starts. Ctrl-C, SIGTERM and SIGUSR1 have all trials save and leave; --resume goes on.

Exit codes: 0 done; 1 every trial failed; 2 something must be changed first; 75 interrupted, go on with --resume.
"""

import argparse
import json
import logging
import random
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launch.crew import crew_words
from launch.process_plan import TRAIN
from launch.sweep.place import describe_place
from launch.sweep.trial_plan import SweepPlan, plan_sweep
from tsal_dist.cli import run_entry
from tsal_dist.config.load import to_override
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.run import living, refuse_hand_labels
from tsal_dist.run_dir import RunDir, write_whole

logger = logging.getLogger("launch.sweep")

NOTE = "sweep.json"
LOOKED_AT = 32
"""So many runs at a time are looked at before they are deleted."""


def main(argv: list[str]) -> int:
    """Plan, check, and hand over to Tune."""
    args = build_parser().parse_intermixed_args(argv)
    changes = {
        "sweep.trials": args.trials,
        "sweep.concurrent": args.concurrent,
        "sweep.time_s": args.time_s,
        "place.gpus_per_proc": args.gpus_per_proc,
    }
    plan = plan_sweep(
        args.config,
        args.overrides,
        args.sweep,
        {name: value for name, value in changes.items() if value is not None},
        Path.cwd(),
        args.module,
    )
    if args.dry_run:
        show_plan(plan)
        return ExitCode.DONE
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    open_folder(plan, "resume" if args.resume else "clean" if args.clean else "new")

    from launch.sweep.cluster import fit_unseen, join_cluster, wait_for_room

    with join_cluster(plan, args.address):
        plan = fit_unseen(plan) if args.autoscaling else wait_for_room(plan, args.wait_s)
        return run_sweep(plan, args.resume)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--config",
        action="append",
        default=[],
        metavar="TOML",
        help="a config file; later ones win; repeatable",
    )
    add("--sweep", type=Path, required=True, metavar="TOML", help="the sweep file")
    add("overrides", nargs="*", metavar="section.key=value", help="settings of every trial")
    add("--trials", type=int, help="short for sweep.trials")
    add("--concurrent", type=int, metavar="K", help="short for sweep.concurrent")
    add("--time-s", type=float, metavar="S", help="short for sweep.time_s")
    add("--gpus-per-proc", type=float, metavar="G", help="short for place.gpus_per_proc")
    add(
        "--address",
        default="local",
        help="a Ray cluster: `auto` or host:port joins one, `local` makes one of this machine (default)",
    )
    add(
        "--wait-s",
        type=float,
        default=0.0,
        metavar="S",
        help="how long nodes of the cluster may be late (default: 0)",
    )
    add(
        "--autoscaling",
        action="store_true",
        help="nodes come when trials ask for them: do not look for room first",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the sweep that is already there")
    existing.add_argument(
        "--clean", action="store_true", help="delete the sweep that is already there, runs and all"
    )
    add("--dry-run", action="store_true", help="print what would be searched and started, start nothing")
    # For tests: a stand-in with the same command line as training.
    add("--module", default=TRAIN, help=argparse.SUPPRESS)
    return parser


def open_folder(plan: SweepPlan, mode: str) -> None:
    """Make the sweep's folder, or check that it is this sweep's."""
    note, told = plan.folder / NOTE, _describe(plan)
    if mode == "clean" and plan.folder.exists():
        if not note.exists():
            raise ConfigError(
                f"--clean: {plan.folder} holds no {NOTE}, so it is not a sweep and will not be deleted. Empty it "
                f"yourself, or choose another place (sweep.dir)."
            )
        _refuse_loss(plan)
        shutil.rmtree(plan.folder)
    if note.exists():
        if mode == "new":
            raise ConfigError(
                f"{plan.folder} already holds a sweep. Go on with it (--resume), replace it (--clean), or choose "
                f"another sweep.name."
            )
        before = json.loads(note.read_text())
        for key in told:
            if before.get(key, told[key]) != told[key]:
                raise ConfigError(
                    f"{plan.folder} was started with another {key}: {before[key]!r}, now {told[key]!r}. Set it "
                    f"back, choose another sweep.name, or start again with --clean."
                )
        return
    if plan.folder.exists() and any(plan.folder.iterdir()):
        raise ConfigError(
            f"{plan.folder} is not empty and holds no sweep. Choose another place (sweep.dir or sweep.name)."
        )
    write_whole(note, json.dumps(told, indent=1).encode())


def _refuse_loss(plan: SweepPlan) -> None:
    """ConfigError where a trial is at work, or a person has labelled frames of one: as --clean of a run has it."""
    runs = [RunDir(path) for path in sorted(plan.folder.glob("trials/*/run_*"))]
    beat_s, instead = plan.config.runtime.deadlines.beat_s, "choose another sweep.name"
    with ThreadPoolExecutor(LOOKED_AT) as looks:  # each look takes seconds
        for run, at_work in zip(runs, looks.map(lambda run: living(run, beat_s), runs), strict=True):
            if at_work:
                raise ConfigError(
                    f"--clean: {at_work} is at work in {run.root}, its heartbeat goes on. Stop that sweep first, or {instead}."
                )
    for run in runs:
        refuse_hand_labels(run, plan.folder.parent, instead)


def run_sweep(plan: SweepPlan, resume: bool) -> ExitCode:
    """All trials, then the table."""
    from rich.console import Console

    from launch.sweep.engine import can_resume, run_tune
    from launch.sweep.results import report_sweep

    logger.info(
        "sweep %s: %d trials in %s, each %d x %s",
        *(plan.file.sweep.name, plan.trials, plan.folder, len(plan.bundles), plan.bundles[0]),
    )
    watch = run_tune(plan, resume and can_resume(plan), Console(stderr=True))
    if watch.interrupted:
        logger.warning("interrupted: %s; everything is saved, go on with --resume", watch.interrupted)
    best = report_sweep(plan, watch.seen, Console())
    if best:
        sys.stdout.write(f"best config: {best}\nplots and tables: {best.parent}\n")
    if watch.interrupted and not watch.interrupted.startswith("sweep.time_s"):
        return ExitCode.REQUEUE
    return ExitCode.DONE if best or watch.interrupted else ExitCode.FAILED


def show_plan(plan: SweepPlan) -> None:
    """What --dry-run says."""
    file = plan.file
    lines = [
        f"sweep {file.sweep.name}: {plan.trials} trials in {plan.folder}",
        f"search {file.search.method}, schedule {file.schedule.kind}, {file.sweep.metric} to the {file.sweep.mode}, "
        f"{plan.total_steps} steps a trial",
        *(f"  {key}: {domain.describe()}" for key, domain in plan.space.items()),
        f"each trial: {describe_place(plan)}",
        "for example:",
    ]
    values = plan.sample(random.Random(file.sweep.seed))
    run = plan.folder / "trials" / "EXAMPLE" / "run_0"
    words = argparse.Namespace(
        config=plan.files,
        overrides=plan.trial_overrides(values, run),
        interface=file.place.interface,
        module=plan.module,
    )
    for crew in plan.trial_crews(plan.trial_config(values, run)):
        lines.append("  " + shlex.join([sys.executable, "-m", "launch.crew", *crew_words(crew, words)]))
    sys.stdout.write("\n".join(lines) + "\n")


def _describe(plan: SweepPlan) -> dict[str, object]:
    """What a resumed sweep must have in common with the one before."""
    tree = plan.config.model_dump(mode="json")
    return {
        "space": [to_override(key, [domain.kind, *domain.values]) for key, domain in plan.space.items()],
        "metric": f"{plan.file.sweep.metric} {plan.file.sweep.mode}",
        "search": plan.file.search.model_dump(mode="json"),
        "schedule": plan.file.schedule.model_dump(mode="json"),
        "config": {name: tree[name] for name in ("model", "data", "train")},
        "method": tree["method"],
    }


if __name__ == "__main__":
    sys.exit(run_entry(main))
