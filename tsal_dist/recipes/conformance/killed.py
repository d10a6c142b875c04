"""A training process that is killed where it is told to be: without a word, as by an accident.

python -m tsal_dist.recipes.conformance.killed student 6 run.dir=...   before its step 6
python -m tsal_dist.recipes.conformance.killed teacher 2 run.dir=...   before it labels for the third time
"""

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

from tsal_dist.cli import run_entry
from tsal_dist.roles.student import Student
from tsal_dist.roles.teacher import Teacher
from tsal_dist.train import main as train

WORK: dict[str, tuple[type, str]] = {"student": (Student, "step"), "teacher": (Teacher, "label")}


def main(argv: list[str]) -> int:
    role, times, *words = argv
    owner, name = WORK[role]
    setattr(owner, name, _deadly(getattr(owner, name), int(times)))
    return train(words)


def _deadly(work: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The same work, which is done so many times and never again."""
    done = count()

    def once_more(self: object) -> Any:
        if next(done) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(self)

    return once_more


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
