"""What does not belong to a run and meddles with it: a process that wakes up late, a neighbour's files, other data, a deletion.

Each of them is to be told from the run's own and kept off, and the run goes on. Some show only while they are done whether
that promise holds: what was broken is added to the injector's `broken`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launch import processes
from tools.soak.injuries import FIRST_STRANGER, FaultInjector, NotNow, cut_file, flip_bit, own_producers
from tools.soak.preload import set_seconds
from tools.soak.run_under_test import Role
from tsal_dist.dist.environment import child_environment
from tsal_dist.errors import ExitCode
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.json_object import read_sealed, write_sealed
from tsal_dist.pseudo.log import log_name
from tsal_dist.pseudo.topic import list_producers, meta_name, producer_name
from tsal_dist.run_dir import RunDir, whole_steps

SAVE_S = 15.0
"""Within this a student that is at work saves."""
END_S = 120.0
"""Within this whoever must not go on has ended."""
MOST_FILES = 3
STALE_S = (3, 8)
STRANGERS = (
    "no log",
    "a folder for a log",
    "no META.json",
    "noise for a META.json",
    "the META.json of another queue",
)


def wake_a_zombie(injector: FaultInjector, rng: random.Random) -> str:
    """A student is stopped inside a save, and goes on when a successor has long done so."""
    run, student = injector.run, injector.run.student
    deadline = time.monotonic() + SAVE_S
    while not list(run.run_dir.checkpoints("student").glob(".step_*.tmp")):
        if time.monotonic() > deadline:
            raise NotNow
        time.sleep(0.002)  # a save is over in no time
    workers = student.workers()
    student.signal_workers(signal.SIGSTOP)
    crew = run.let_go(student)
    try:
        before = _newest(run.run_dir)
        followed = run.until(lambda: student.finished or _newest(run.run_dir) > before, END_S)
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    if not followed:
        injector.broken.append(
            f"beside a student that stood still in a save no other one got beyond step {before}"
        )
    _see_it_end(injector, crew)
    return (
        f"processes {workers} woke up beside their successors, which had come to step {_newest(run.run_dir)}"
    )


def _see_it_end(injector: FaultInjector, crew: "subprocess.Popen[bytes]") -> None:
    """The crew that woke up ends so that nobody starts it again, and removes nothing meanwhile."""
    newest = _newest(injector.run.run_dir)

    def nothing_is_lost() -> bool:
        nonlocal newest
        now = _newest(injector.run.run_dir)
        if now < newest:
            injector.broken.append(f"a student that woke up removed the checkpoint of step {newest}")
        newest = now
        return crew.poll() is not None

    injector.run.until(nothing_is_lost, END_S)
    code = injector.run.look_after(crew, 0.0)
    if code != ExitCode.WRONG_CONFIG and not injector.run.student.finished:
        injector.broken.append(f"a student that woke up beside its successor ended with {code}")


def plant_a_stranger(injector: FaultInjector, rng: random.Random) -> str:
    """A folder among the producers that is none, or another queue's, or cannot be read."""
    queue = injector.run.run_dir.queue("labels")
    store = PosixStore(queue)
    own = own_producers(store)
    if not own:
        raise NotNow
    model, how = rng.choice(own), rng.choice(STRANGERS)
    taken = len(list_producers(store)) - len(own)
    name = producer_name("teacher", FIRST_STRANGER + taken, 1)
    meta = (queue / meta_name(model)).read_bytes()
    (queue / meta_name(name)).parent.mkdir()
    if how != "no META.json":
        noise = how == "noise for a META.json"
        (queue / meta_name(name)).write_bytes(rng.randbytes(64) if noise else _of_another_queue(meta, how))
    if how == "a folder for a log":
        (queue / log_name(name)).mkdir()
    elif how != "no log":
        shutil.copyfile(queue / log_name(model), queue / log_name(name))
    return f"{name}, with {how}"


def _of_another_queue(meta: bytes, how: str) -> bytes:
    """What it says is as good as before, but for its queue; as it is where that is not what is wrong."""
    return write_sealed(read_sealed(meta) | {"queue": "another"}) if how.endswith("another queue") else meta


def damage_control(injector: FaultInjector, rng: random.Random) -> str:
    """Greetings, turns, heartbeats and notes; not the word that ends a run, which ends it."""
    control = injector.run.run_dir.root / "ctl"
    found = [path for name in ("hello", "beat", "exit") for path in sorted((control / name).glob("*"))
             if path.suffix in (".json", ".turn") and path.stat().st_size]  # fmt: skip
    if not found:
        raise NotNow
    said = []
    for path in rng.sample(found, min(MOST_FILES, len(found))):
        with suppress(FileNotFoundError):
            said.append(f"{path.relative_to(control)} {rng.choice([flip_bit, cut_file])(path, rng)}")
    return "; ".join(said)


def clean_a_living_run(injector: FaultInjector, _: random.Random) -> str:
    run = injector.run
    if injector.is_nearly_over():
        raise NotNow  # a run that has ended may be removed
    command = [sys.executable, "-m", "tsal_dist.train", "--clean", *run.words, "runtime.topology=inline"]
    said = run.run_dir.root.with_name("clean.log")
    with open(said, "wb") as file:
        code = run.look_after(processes.start(command, child_environment({}), file), END_S)
    words = said.read_text(errors="replace").strip()
    if code != ExitCode.WRONG_CONFIG or "is at work in" not in words:
        injector.broken.append(f"--clean of a living run ended with {code}: {words[-300:]}")
    return f"--clean left with {code}"


def change_the_shards(injector: FaultInjector, rng: random.Random) -> str:
    """While the student is away its data become another version of themselves: it must not go on with them."""
    run, (student, teacher) = injector.run, injector.run.roles
    teacher.signal_workers(signal.SIGSTOP)
    student.held = True
    try:
        killed = injector.kill(student, rng)
        if not run.until(lambda: student.pid is None, END_S) or student.finished:
            raise NotNow
        with _swapped(injector.shards, injector.other_shards):
            _see_it_refused(injector, student)
    finally:
        student.held = False
        teacher.signal_workers(signal.SIGCONT)
    return f"{injector.shards.name} was another version at one start, after the end of {killed}"


def _see_it_refused(injector: FaultInjector, student: Role) -> None:
    begin = student.output.stat().st_size
    student.excused += 1
    student.held = False
    injector.run.tend()  # this one start
    student.held = True
    ended = injector.run.until(lambda: student.pid is None, END_S)
    words = student.output.read_bytes()[begin:].decode(errors="replace")
    if (
        not ended
        or student.ended_with != ExitCode.WRONG_CONFIG
        or "holds other shards than when" not in words
    ):
        code = student.ended_with if ended else "not at all"
        injector.broken.append(f"on other shards the student ended with {code}: {student.last_words()}")
    if not ended:
        injector.kill(student, random.Random(0))
        injector.run.until(lambda: student.pid is None, END_S)


@contextmanager
def _swapped(one: Path, other: Path) -> Iterator[None]:
    aside = one.with_name(f"{one.name}-aside")
    one.rename(aside)
    other.rename(one)
    try:
        yield
    finally:
        one.rename(other)
        aside.rename(one)


def start_on_a_stale_listing(injector: FaultInjector, rng: random.Random) -> str:
    """What was made in the last seconds is not listed while a role starts again."""
    role, seconds = rng.choice(injector.run.roles), rng.randint(*STALE_S)
    set_seconds(injector.knobs, "listing", seconds)
    try:
        killed = injector.kill(role, rng)
        injector.run.wait(1.0)
        injector.run.until(lambda: role.finished or role.ready(), END_S)
        injector.run.wait(seconds)
    finally:
        set_seconds(injector.knobs, "listing", 0)
    return f"listings were {seconds} s late, and {killed} was killed"


def _newest(run_dir: RunDir) -> int:
    return max(whole_steps(run_dir.checkpoints("student")), default=-1)
