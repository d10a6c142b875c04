"""The soak from start to end: data, pace, injuries, recovery, verdict, report."""

import argparse
import logging
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from launch import processes
from tools.bench.made_faces import make_faces, pack_list
from tools.soak.acts import hurt
from tools.soak.injuries import FaultInjector, NotNow, small_disk
from tools.soak.preload import build_libraries
from tools.soak.process_growth import ProcessGrowth
from tools.soak.recovery import RecoveryTimes
from tools.soak.report import Soaked, report
from tools.soak.run_under_test import RunUnderTest
from tools.soak.schedule import FILL, GAP_S, JUMP, KINDS, STALE, Event, plan_events
from tools.soak.violations import find_violations
from tsal_dist.config import load_config
from tsal_dist.dist.parent_death import adopt_orphans
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.pack.packing_plan import PackOptions
from tsal_dist.run import open_run
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.follow_shards import follow_shards
from tsal_dist.synthetic.dataset import DatasetSpec

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "demo.toml"
SILENT_S = 30
RETURN_S = 180.0
"""Within this both roles must be at work again, whatever was done to them."""
RETRY_S = 5.0
PACE_STEPS = 80
"""Steps of the run that finds out how fast this machine is."""
SHARE = 0.7
"""Of the steps that undisturbed training would take in the time: the rest goes to restarts."""
SETTINGS = (
    "model.crop_px=32",
    "train.burn_in_steps=8",
    "train.labelled_batch=4",
    "train.unlabelled_batch=8",
    "train.gate.enabled=false",
    "train.loss.headroom=false",
    "runtime.queue.segment_rows=16",
    "runtime.queue.segment_age_s=1",
    "runtime.queue.high_water_rows=256",
    "runtime.queue.low_water_rows=64",
    "runtime.weights.publish_every=8",
    "runtime.checkpoint.every=40",
    "runtime.log.every=10",
    "runtime.log.evaluate_every=400",
    "runtime.deadlines.poll_s=0.1",
    f"runtime.deadlines.silent_s={SILENT_S}",
    "runtime.deadlines.group_s=60",
    "runtime.deadlines.shutdown_s=80",
    "runtime.deadlines.grace_s=90",
)


def soak(args: argparse.Namespace) -> int:
    """What `tools/soak/__main__.py` was asked for."""
    if args.minutes <= 0:
        raise ConfigError(f"--minutes is {args.minutes:g}; it must be above 0.")
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    adopt_orphans()
    home = Path(tempfile.mkdtemp(prefix="soak-")) if args.run is None else args.run.absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)  # crews are modules of the repository
    if any(home.iterdir()):
        raise ConfigError(f"{home} is not empty. Give --run a folder of its own.")
    try:
        found = _soak(args, home)
    finally:
        processes.end_descendants(2.0)
    if not found and args.run is None and not args.keep:
        shutil.rmtree(home)
    else:
        print(f"everything is left in {home}")
    return ExitCode.FAILED if found else ExitCode.DONE


def _soak(args: argparse.Namespace, home: Path) -> list[str]:
    """The whole story; what was found."""
    words = [f"--config={CONFIG}", *SETTINGS, *_make_data(home), f"runtime.teachers={args.teachers}"]
    pace = 0.0 if args.steps else _measure_pace(home / "pace", words, args)
    steps = args.steps or max(PACE_STEPS, round(SHARE * pace * 60 * args.minutes))
    lies = build_libraries(home)
    with small_disk(home / "run") as disk:
        run = RunUnderTest(RunDir(home / "run"), words, steps, args.students, args.teachers, lies or {})
        open_run(follow_shards(load_config([CONFIG], run.words[1:])), "new")
        growth, recovery = ProcessGrowth(), RecoveryTimes()

        def watch() -> None:
            growth.sample(lambda: [(role.name, pid) for role in run.roles for pid in role.workers()])
            recovery.look()

        run.watch = watch
        missing = [kind for kind, there in ((FILL, disk), (JUMP, lies), (STALE, lies)) if there is None]
        print(
            f"{steps} steps ({pace:.1f} per second undisturbed), {args.minutes:g} minutes, seed {args.seed}"
        )
        for kind in missing:
            print(f"left out: {kind} ({'needs root' if kind == FILL else 'needs a C compiler'})")
        shards = home / "shards" / "train"
        injector = FaultInjector(run, home, shards, home / "other" / "train", disk, SILENT_S)
        events = plan_events(args.minutes, args.seed, [kind for kind in KINDS if kind not in missing])
        started = time.monotonic()
        try:
            done, late = _hurt(injector, events, recovery, 60 * args.minutes)
            hurt_s = time.monotonic() - started
            print("left alone now", flush=True)
            late += _let_finish(run, 60 * args.minutes + 2 * RETURN_S)
        finally:
            processes.end_descendants(5.0)
    found, books = find_violations(run, injector, growth)
    soaked = Soaked(
        args.minutes, args.seed, missing, done, hurt_s, time.monotonic() - started, books, late + found
    )
    report(soaked, run, growth, recovery)
    return soaked.found


def _hurt(
    injector: FaultInjector, events: list[Event], recovery: RecoveryTimes, limit_s: float
) -> tuple[Counter[str], list[str]]:
    """Every injury at its time, or as soon as both roles are at work, until the time is over; how many of each, and who did
    not come back."""
    run, done, late = injector.run, Counter[str](), []
    start = time.monotonic()
    for event in events:
        run.wait(max(GAP_S[0], start + event.at_s - time.monotonic()))
        passed_s = time.monotonic() - start
        if passed_s > limit_s:
            break
        if run.student.finished:
            late += _extend(run, limit_s - passed_s, run.steps / passed_s)
        if not run.until_ready(RETURN_S):
            absent = " and ".join(role.name for role in run.roles if not role.ready())
            late.append(f"the {absent} was not at work again within {RETURN_S:g} s, before '{event.kind}'")
            break
        what = _try(injector, event)
        if what:
            recovery.begin(event.kind, run.roles)
        done[event.kind] += bool(what)
        what = what or "not possible now"
        print(f"{time.monotonic() - start:7.1f} s  {event.kind}: {what}", flush=True)
    return done, late


def _extend(run: RunUnderTest, left_s: float, pace: float) -> list[str]:
    """A run that is over too early goes on for the time that is left, by the `pace` that it had under injuries."""
    late = _let_finish(run, RETURN_S)
    run.go_on(run.steps + max(PACE_STEPS, round(pace * left_s)))
    print(f"the run was over before its time and goes on, to step {run.steps}", flush=True)
    return late


def _try(injector: FaultInjector, event: Event) -> str:
    """What was done; "" where the run offered nothing to hurt, twice: a teacher that is parked makes no segment."""
    for _ in range(2):
        try:
            return hurt(injector, event.kind, event.dice)
        except NotNow:
            injector.run.wait(RETRY_S)
    return ""


def _let_finish(run: RunUnderTest, limit_s: float) -> list[str]:
    """Leave it alone until both roles have ended by themselves."""
    if run.until(lambda: run.finished, limit_s):
        return []
    return [f"the run was left alone and did not finish within {limit_s:.0f} s"]


def _make_data(home: Path) -> list[str]:
    """Small synthetic faces, packed; the settings that name them."""
    # Enough clips that a teacher between two versions need not label one twice: it would be dropped as a duplicate.
    words = make_faces(home, DatasetSpec(videos=24, frames=16, size_px=80, labelled=0.3))
    # Other labels, so another version of the same data.
    pack_list(home / "raw" / "train.lst", home / "other", PackOptions("train", labelled=0.5))
    return words


def _measure_pace(folder: Path, words: list[str], args: argparse.Namespace) -> float:
    """Steps per second of a short run that nobody disturbs."""
    run = RunUnderTest(RunDir(folder), words, PACE_STEPS, args.students, args.teachers, {})
    deadline = time.monotonic() + 2 * RETURN_S
    while not run.finished:
        run.wait(0.5)
        surprises = [text for role in run.roles for text in role.surprises]
        if surprises or time.monotonic() > deadline:
            raise ConfigError(f"Undisturbed training does not work here: {surprises or 'it does not end'}.")
    lines = [line for line in read_metrics(run.run_dir.metrics("student")) if "speed/steps_per_s" in line]
    return float(lines[-1]["speed/steps_per_s"])
