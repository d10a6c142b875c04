"""What a cluster does to a run, done on purpose.

A process that is stopped (SIGSTOP) and goes on later is what a hung disk or a lost network mount looks like from
outside: it holds its files and its place, and does nothing. A full disk is one that holds nothing but the run and
shrinks to what it holds. Wall clocks jump for the roles alone (`preload`); monotonic time goes on, as it does on a host
whose clock is set.
"""

import logging
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tools.soak.preload import set_seconds
from tools.soak.run_under_test import Role, RunUnderTest
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.observe.snapshot import read_beats
from tsal_dist.pseudo.log import Kind, LogReader, Record, log_name
from tsal_dist.pseudo.topic import list_producers, segment_name, split_producer

logger = logging.getLogger("soak")

DISK = "1g"
SHORT_STALL_S = (2.0, 6.0)
FULL_S = (4.0, 9.0)
NEW_SEGMENT_S = 15.0
NEARLY = 0.8
SHRINK_TRIES = 100
FIRST_STRANGER = 900
"""A rank that no teacher of a soak has."""
JUMPS_S = (-86_400, -3_600, -61, 61, 3_600, 86_400, 40 * 86_400)


class NotNow(Exception):
    """The run offers nothing to hurt in this way at the moment."""


@dataclass
class FaultInjector:
    """Does the injuries, and remembers what must show up in the end."""

    run: RunUnderTest
    knobs: Path
    """The folder of the numbers that `preload` reads."""
    shards: Path
    other_shards: Path
    """Another version of `shards`: other videos under the same names."""
    disk: Path | None
    silent_s: float
    damaged: dict[tuple[str, int], str] = field(default_factory=dict)
    """Producer and number of every segment that was damaged before anybody read it, and how."""
    broken: list[str] = field(default_factory=list)
    """Promises that an injury saw broken while it was done."""

    def is_nearly_over(self) -> bool:
        """Whether the run may end while it is being hurt, by the student's heartbeat."""
        return any(beat.step > NEARLY * self.run.steps for beat in read_beats(self.run.run_dir, "student"))

    def kill(self, role: Role, rng: random.Random) -> str:
        workers = role.workers()
        if not workers:
            raise NotNow
        victim = rng.choice(workers)
        role.excused += 1
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return f"process {victim}, one of {len(workers)} of the {role.name}"

    def kill_both(self, rng: random.Random) -> str:
        return f"{self.kill(self.run.student, rng)}; {self.kill(self.run.teacher, rng)}"

    def ask(self, role: Role) -> str:
        role.excused += 1
        role.ask_to_leave()
        return f"SIGTERM to the {role.name}'s crew"

    def stall(self, role: Role, seconds: float) -> str:
        role.signal_workers(signal.SIGSTOP)
        try:
            self.run.wait(seconds)
        finally:
            role.signal_workers(signal.SIGCONT)
        return f"the {role.name} stood still for {seconds:.1f} s"

    def damage(self, rng: random.Random, how: Callable[[Path, random.Random], str]) -> str:
        """Damage a segment that is committed and that nobody has read: the student stands still until it is done."""
        store = PosixStore(self.run.run_dir.queue("labels"))
        student, teacher = self.run.roles
        student.signal_workers(signal.SIGSTOP)
        try:
            time.sleep(0.2)  # until it really stands
            before = _last_segments(store)
            deadline = time.monotonic() + NEW_SEGMENT_S
            while not (fresh := [new for new in _last_segments(store).items() if new not in before.items()]):
                if time.monotonic() > deadline:
                    raise NotNow
                self.run.wait(0.1)
            teacher.signal_workers(signal.SIGSTOP)
            time.sleep(0.2)
            producer, seq = fresh[0]
            path = store.root / segment_name(producer, seq)
            what = how(path, rng)
            self.damaged[producer, seq] = what
        finally:
            for role in (teacher, student):
                role.signal_workers(signal.SIGCONT)
        return f"{producer} segment {seq}: {what}"

    def tear_log(self, rng: random.Random) -> str:
        """Half a record at the end of a log, as a crash in the middle of a write leaves one."""
        store = PosixStore(self.run.run_dir.queue("labels"))
        names = own_producers(store)
        if not names:
            raise NotNow
        name = rng.choice(names[-3:])
        rest = rng.randbytes(rng.randint(1, 63))
        self.run.teacher.signal_workers(signal.SIGSTOP)
        try:
            time.sleep(0.2)
            with open(store.root / log_name(name), "ab") as file:
                file.write(rest)
        finally:
            self.run.teacher.signal_workers(signal.SIGCONT)
        return f"{len(rest)} bytes after the last record of {name}"

    def jump_clock(self, rng: random.Random) -> str:
        jump_s = rng.choice(JUMPS_S)
        set_seconds(self.knobs, "clock", jump_s)
        return f"both roles' wall clocks are now {jump_s:+d} s off"

    def jump_file_times(self, rng: random.Random) -> str:
        root, jump_s = self.run.run_dir.root, rng.choice(JUMPS_S)
        found = [
            path
            for name in ("ctl", "queue", "weights")
            for path in (root / name).rglob("*")
            if path.is_file()
        ]
        moved = 0
        for path in rng.sample(found, min(40, len(found))):
            with suppress(OSError):  # collected or replaced meanwhile
                then = path.stat().st_mtime + jump_s
                os.utime(path, (then, then))
                moved += 1
        return f"{moved} files of ctl, queue and weights are {jump_s:+d} s older or newer"

    def fill(self, rng: random.Random) -> str:
        if self.disk is None:
            raise NotNow
        seconds = rng.uniform(*FULL_S)
        used = _shrink(self.disk)
        try:
            self.run.wait(seconds)
        finally:
            _mount("remount", f"size={DISK}", self.disk)
        return f"the run's disk was full at {used / 1e6:.1f} MB for {seconds:.1f} s"


def flip_bit(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(data)), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place} flipped"


def cut_file(path: Path, rng: random.Random) -> str:
    size = rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut to {size} bytes"


def punch_hole(path: Path, rng: random.Random) -> str:
    """A page of zeros, as a disk leaves one after a power cut; where there were zeros already, of ones."""
    data = bytearray(path.read_bytes())
    size = min(len(data), 512)
    place = rng.randrange(len(data) - size + 1)
    hole = bytes(size) if any(data[place : place + size]) else b"\xff" * size
    data[place : place + size] = hole
    path.write_bytes(data)
    return f"{size} bytes from {place} on overwritten"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of its own below `folder` for a while; None where this user may not mount. What it held stays."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if (
        os.geteuid()
        or not shutil.which("mount")
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        yield None
        return
    try:
        yield folder
    finally:
        kept = folder.with_name(f"{folder.name}-kept")
        shutil.copytree(folder, kept)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
        kept.rename(folder)


def _shrink(disk: Path) -> int:
    """Take all the room away, while others write; the bytes that are left."""
    for _ in range(SHRINK_TRIES):
        state = os.statvfs(disk)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        with suppress(subprocess.CalledProcessError):  # somebody has written since
            _mount("remount", f"size={used}", disk)
            return used
    raise NotNow


def _mount(*options_and_place: object) -> None:
    *options, place = options_and_place
    subprocess.run(["mount", "-o", ",".join(map(str, options)), str(place)], check=True, capture_output=True)


def own_producers(store: PosixStore) -> list[str]:
    """Those of the run under test."""
    return [name for name in list_producers(store) if split_producer(name)[1] < FIRST_STRANGER]


def _last_segments(store: PosixStore) -> dict[str, int]:
    """Per producer its newest committed segment."""
    found = {}
    for name in own_producers(store):
        for record in LogReader(store, name).read():
            if isinstance(record, Record) and record.kind is Kind.DATA:
                found[name] = record.seq
    return found
