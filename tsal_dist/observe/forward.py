"""Tells a tracking service what one role writes into its JSONL file: a process of its own beside the role's rank 0.

    python -m tsal_dist.observe.forward SERVICE RUN_DIR ROLE PROJECT

It follows the file until its standard input ends, which is when the role leaves or dies, tells the rest and leaves. How
far it came is kept beside the file: another process goes on from there, whatever ended this one.
"""

import fcntl
import json
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tsal_dist.address import shown
from tsal_dist.exchange.lines import last_line
from tsal_dist.json_object import read_object
from tsal_dist.observe.services import SERVICES, Service, Subject, Told
from tsal_dist.run_dir import RunDir, make_folder, write_whole

LOOK_S = 1.0
"""How often the file is looked at."""
MOST_BYTES = 1 << 20
"""Read at a time."""


def main(argv: list[str]) -> int:
    """Forward until nothing more can come."""
    name, folder, role, project = argv
    run_dir = RunDir(Path(folder))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # schedulers signal everybody; the role decides when it leaves
    word = run_dir.forwarding(name, role, "log")
    sys.excepthook = lambda kind, error, trace: _leave_word(word, error, trace)
    subject = Subject(run_dir, role, project)
    with _alone(run_dir.forwarding(name, role, "lock")):
        service = SERVICES[name](subject)
        forward(service, run_dir.metrics(role), run_dir.forwarding(name, role, "json"), _ended)
        service.leave(role != "student" or _reached(run_dir))
    return 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until what an attempt that was killed has left behind has told its rest."""
    make_folder(path.parent)
    with open(path, "wb") as file:
        with suppress(OSError):  # some network filesystems have no locks; there a line may be told twice
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def forward(service: Service, path: Path, note: Path, ended: Callable[[float], bool]) -> None:
    """Tell all of `path` that `note` does not say was told, as it grows; `ended` waits and says whether it still does."""
    told_bytes, over = _read_note(note), False
    while True:
        lines, upto = read_lines(path, told_bytes)
        if upto > told_bytes:
            service.tell(lines)
            told_bytes = upto
            write_whole(note, json.dumps({"told_bytes": upto}).encode())
        elif over:
            return
        else:
            over = ended(LOOK_S)


def read_lines(path: Path, start: int) -> tuple[list[Told], int]:
    """Whole lines from byte `start` on, and the byte after them; numbers that are not finite have none."""
    if not path.exists():
        return [], start
    with open(path, "rb") as file:
        file.seek(start)
        text = file.read(MOST_BYTES)
    whole = text[: text.rfind(b"\n") + 1]
    return [line for each in whole.splitlines() if (line := _read_line(each))], start + len(whole)


def _read_line(text: bytes) -> Told | None:
    try:
        page = read_object(text)
        step, time_s = page.pop("step"), page.pop("time")
    except (ValueError, KeyError):
        return None  # damaged, or nobody's
    numbers = {name: value for name, value in page.items() if type(value) in (int, float)}
    return Told(step, time_s, numbers) if type(step) is int and type(time_s) in (int, float) else None


def _read_note(note: Path) -> int:
    try:
        told = read_object(note.read_bytes())["told_bytes"]
    except (FileNotFoundError, ValueError, KeyError):
        return 0
    return told if type(told) is int and told >= 0 else 0


def _reached(run_dir: RunDir) -> bool:
    """Whether the student's last line is of the run's last step."""
    steps = read_object(run_dir.run_json.read_bytes())["config"]["train"]["steps"]
    line = _read_line(last_line(run_dir.metrics("student")))
    return line is not None and line.step >= steps


def _ended(wait_s: float) -> bool:
    """Nobody writes to the standard input: it is readable when the other end is closed."""
    readable, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(readable)


def _leave_word(path: Path, error: BaseException, trace: TracebackType | None) -> None:
    """What went wrong, its first line for the role's log; packages repeat URLs, and a URL may hold a password."""
    first = f"{type(error).__name__}: {error}".partition("\n")[0]
    full = "".join(traceback.format_exception(type(error), error, trace))
    write_whole(path, shown(f"{first}\n\n{full}").encode())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
