"""Stands in for tsal_dist.train where launchers are tested: the same command line, files, signals and codes.

It counts steps instead of learning, and needs no torch, so that a test of the launchers takes seconds. Faults
come in the variable STAND_IN: JSON such as {"teacher": {"at": 2, "how": "crash", "times": 1}}.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import tsal_dist
from tsal_dist.cli import run_entry
from tsal_dist.config import load_config
from tsal_dist.dist.environment import read_environment
from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.dist.topology import plan_seats
from tsal_dist.errors import ConfigError
from tsal_dist.run import open_run
from tsal_dist.run_dir import RunDir, write_whole

STEP_S = 0.05


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--resume-or-start", action="store_true")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args(argv)
    assert args.resume_or_start, "launchers always resume"

    config = load_config(args.config, args.overrides)
    environment = read_environment()
    seat = plan_seats(config.runtime, environment.world, environment.local_world, True)[environment.rank]
    run_dir = open_run(config, "resume").dir
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: asked.append(number))

    step = resumed = last_commit(run_dir, seat.name)
    die_with_parent()

    print(f"{seat.name} {seat.rank} of {seat.world} starts at step {resumed}", flush=True)
    record(run_dir, seat.name, seat.rank, environment.rank, config.data.labelled)
    while step < config.train.steps:
        if asked or (seat.role == "teacher" and run_dir.stop.exists()):
            break
        time.sleep(STEP_S)
        step += 1
        beat = {"incarnation": 1, "seq": step, "phase": "train", "step": step, "host": os.uname().nodename}
        write_whole(run_dir.beat(seat.name, seat.rank), json.dumps(beat).encode())
        misbehave(run_dir, seat.name, step)
        if seat.role == "student" and seat.rank == 0 and step % config.runtime.log.evaluate_every == 0:
            evaluate(run_dir, config.train.optim.lr, step)
        if seat.rank == 0 and step % config.runtime.checkpoint.every == 0:
            commit(run_dir, seat.name, step)
    if seat.rank == 0:
        if asked:
            commit(run_dir, seat.name, step)
        elif seat.role == "student":
            write_whole(run_dir.stop, b"")
        reason = "asked to stop" if asked else "finished"
        note = {"code": 75 if asked else 0, "reason": reason, "attempt": 0}
        write_whole(run_dir.exit_note(seat.name), json.dumps(note).encode())
    return 75 if asked else 0


def last_commit(run_dir: RunDir, role: str) -> int:
    found = run_dir.checkpoints(role).glob("step_*/COMMIT")
    return max((int(path.parent.name.removeprefix("step_")) for path in found), default=0)


def commit(run_dir: RunDir, role: str, step: int) -> None:
    write_whole(run_dir.checkpoints(role) / f"step_{step}" / "COMMIT", b"")


def evaluate(run_dir: RunDir, lr: float, step: int) -> None:
    """A line of metrics whose error falls with the steps, and is lowest at a rate of 0.002."""
    nme = 0.1 + abs(math.log10(lr / 2e-3)) / 10 + 0.5 * 0.95**step
    path = run_dir.metrics("student")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(
            json.dumps({"step": step, "time": time.time(), "validation/nme": nme, "train/lr": lr}) + "\n"
        )


def record(run_dir: RunDir, role: str, rank: int, process: int, labelled: tuple[str, ...]) -> None:
    """One line per start: who, where, as what process, with whose code and shards."""
    names = ("CUDA_VISIBLE_DEVICES", "MALLOC_TRIM_THRESHOLD_", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    line = {"role": role, "rank": rank, "process": process, "pid": os.getpid()}
    where = {"cwd": os.getcwd(), "code": str(Path(tsal_dist.__file__).resolve().parent)}
    line |= {**where, "labelled": str(Path(*labelled[:1]).resolve())}
    line |= {"start": last_commit(run_dir, role), **{name: os.environ.get(name) for name in names}}
    path = run_dir.root / "logs" / "starts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def misbehave(run_dir: RunDir, role: str, step: int) -> None:
    fault = json.loads(os.environ.get("STAND_IN", "{}")).get(role)
    if fault is None or step != fault["at"]:
        return
    seen = run_dir.root / "logs" / f"{role}.faults"
    times = len(seen.read_text()) if seen.exists() else 0
    if times >= fault["times"]:
        return
    seen.write_text("x" * (times + 1))
    if fault["how"] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault["how"] == "kill torchrun":
        os.kill(os.getppid(), signal.SIGKILL)
    if fault["how"] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    if fault["how"] == "config":
        note = {"code": 2, "reason": "the config is wrong", "attempt": 0}
        write_whole(run_dir.exit_note(role), json.dumps(note).encode())
        raise ConfigError("the config is wrong")


if __name__ == "__main__":
    sys.exit(run_entry(main))
