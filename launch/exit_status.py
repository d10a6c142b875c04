"""How a role ended, from the note its rank 0 leaves: done, failed, wrong config, or "start me again".

torchrun turns every worker's failure into exit code 1, so a launcher cannot tell an orderly stop from a crash
by what torchrun returns. Batch shells ask on the command line and go by the exit code:

    python -m launch.exit_status runs/demo student teacher
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tsal_dist.cli import run_entry
from tsal_dist.errors import ExitCode
from tsal_dist.exchange.exit_note import Ending, read_note
from tsal_dist.run_dir import CREW, RunDir

NOTE_WAIT_S = 10.0
POLL_S = 0.1

# One role's trouble is the run's: the first of these that any role reports counts.
SEVERITY = (ExitCode.WRONG_CONFIG, ExitCode.FAILED, ExitCode.REQUEUE, ExitCode.DONE)


def clear_notes(run_dir: RunDir, roles: Iterable[str]) -> None:
    """Remove what an earlier attempt left, so that only this one's notes can be read."""
    for role in roles:
        run_dir.exit_note(role).unlink(missing_ok=True)


def read_endings(
    run_dir: RunDir, roles: Sequence[str], asked: bool = False, wait_s: float = 0.0
) -> dict[str, Ending]:
    """The ending of every role. Waits for notes that come late, as another host's may.

    A role without a note has crashed, unless it was asked to leave: then it was ended before it could say more,
    while it started or because it did not listen, and its last checkpoint is where it goes on.
    """
    silent = (
        Ending(ExitCode.REQUEUE, "ended before it could save")
        if asked
        else Ending(ExitCode.FAILED, "left no note")
    )
    deadline = time.monotonic() + wait_s
    while True:
        notes = {role: read_note(run_dir.exit_note(role)) for role in roles}
        if all(notes.values()) or time.monotonic() >= deadline:
            return {role: note or silent for role, note in notes.items()}
        time.sleep(POLL_S)


def worst(endings: Iterable[Ending]) -> Ending:
    """The ending that speaks for all."""
    return min(endings, key=lambda ending: SEVERITY.index(ending.code))


def main(argv: list[str]) -> int:
    """Print how each role ended and leave with the code of the worst."""
    parser = argparse.ArgumentParser(prog="python -m launch.exit_status", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="the run's directory, such as runs/demo")
    parser.add_argument(
        "roles", nargs="+", type=_role, metavar="role", help="who took part: student, teacher, teacher-<crew>"
    )
    parser.add_argument(
        "--asked", action="store_true", help="they were asked to leave: silence is no failure"
    )
    args = parser.parse_args(argv)
    endings = read_endings(RunDir(args.run_dir), args.roles, args.asked, NOTE_WAIT_S)
    for role, ending in endings.items():
        sys.stdout.write(f"{role}: exit code {ending.code}, {ending.reason}\n")
    return worst(endings.values()).code


def _role(word: str) -> str:
    if not re.fullmatch(rf"student|teacher(-{CREW})?", word):
        raise argparse.ArgumentTypeError(f"{word!r} is neither student nor teacher nor teacher-<crew>")
    return word


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
