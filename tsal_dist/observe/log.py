"""Logging with role and rank in every line: one file per rank and attempt, and the first rank's on the screen."""

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from tsal_dist.run_dir import RunDir, aside_of, plainly

_PATTERN = "%(asctime)s %(levelname).1s {who} %(name)s: %(message)s"
_BRIEF = "%(asctime)s {who} %(message)s"  # a person at a terminal knows the day, and what is running


class Screen(logging.StreamHandler):  # type: ignore[type-arg]  # generic only in the stubs
    """Writes to whatever stderr is now, so that a live view can keep its place below the lines."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


class LogFile(logging.FileHandler):
    """A rank's file. What finds no room in it is still on the screen, and is no reason for a traceback at every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # the name that logging calls
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def start_logging(
    run_dir: RunDir, role: str, rank: int, attempt: int, level: int = logging.INFO, quiet: bool = False
) -> Path:
    """Send the library's log to this rank's file; rank 0's, and every rank's warnings, to stderr as well.

    `quiet` leaves it at warnings: somebody else tells on this terminal what this process does.

    Called again (tests do) it replaces what it set up before. Returns the file.
    """
    who = f"{role}-r{rank}"
    folder = run_dir.logs(attempt)
    with plainly("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        _point_latest(run_dir.latest_logs, folder.name)
    path = folder / f"{who}.log"

    formatter = logging.Formatter(_PATTERN.format(who=who))
    file = LogFile(path, encoding="utf-8")  # appends: a resumed run's first attempt has a past
    screen = Screen(level if rank == 0 and not quiet else logging.WARNING)
    logger = logging.getLogger("tsal_dist")
    stop_logging()
    logger.setLevel(level)
    file.setFormatter(formatter)
    brief = logging.Formatter(_BRIEF.format(who=who), "%H:%M:%S")
    screen.setFormatter(brief if sys.stderr.isatty() else formatter)
    for handler in (file, screen):
        logger.addHandler(handler)
    logger.info("attempt %d, process %d", attempt, os.getpid())
    return path


def stop_logging() -> None:
    """Close what `start_logging` opened."""
    logger = logging.getLogger("tsal_dist")
    for handler in list(logger.handlers):
        if isinstance(handler, logging.StreamHandler):
            logger.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()


def _point_latest(link: Path, target: str) -> None:
    """Replace the link in one move; both roles do so, with the same target."""
    aside = aside_of(link)
    try:
        aside.symlink_to(target)
        os.replace(aside, link)
    except OSError:
        # A convenience for people; some network filesystems have no symbolic links.
        aside.unlink(missing_ok=True)
