"""How every command ends: one line for what the user can mend, a traceback only for our own defects."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tsal_dist.dist.environment import error_file
from tsal_dist.errors import TsalError
from tsal_dist.run_dir import NO_ROOM, REMEDIES, in_plain_words

DOOR = "tsal "
INTERRUPTED = 130  # the shell's convention for SIGINT
LINE_EVERY_S = 5.0


def program(module: str) -> str:
    """What a usage line calls this page: the verb of `tsal`, or the module that Python was asked to run."""
    return sys.argv[0] if sys.argv[0].startswith(DOOR) else f"python -m tsal_dist.{module}"


def run_entry(
    main: Callable[[list[str]], int],
    argv: Sequence[str] | None = None,
    way_back: str = "The same command starts again.",
) -> int:
    """Run `main` on the command line's words and turn what it raises into an exit code. `way_back` says to whoever
    interrupts it how to go on.

    Use as `if __name__ == "__main__": raise SystemExit(run_entry(main))`.
    """
    try:
        return main(list(sys.argv[1:] if argv is None else argv))
    except TsalError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted. {way_back}\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`... | head`); point stdout elsewhere so that the
        # interpreter's own flush at exit does not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A place that the user may not use, and a full disk, are no defects of ours, wherever they are met.
        if error.errno not in REMEDIES:
            raise
        action = "write" if error.errno in NO_ROOM else "open"
        return _refuse(in_plain_words(action, error.filename or "a file", error))


def _refuse(error: TsalError) -> int:
    """One line for the person, and for torchrun's report."""
    sys.stderr.write(f"error: {error}\n")
    _tell_torchrun(str(error))
    return error.exit_code


@contextlib.contextmanager
def progress_line(doing: str) -> Iterator[Callable[[str], None]]:
    """One line that renews itself on a terminal; in a log, a line every few seconds."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status(doing) as status:
            yield status.update
        return
    told_s = -LINE_EVERY_S

    def tell(text: str) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= LINE_EVERY_S:
            told_s = now_s
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    yield tell


def _tell_torchrun(message: str) -> None:
    """torchrun ends with a report of some forty lines, whose last one is this message instead of a hint at a manual."""
    path = error_file()
    if path:
        word = {"message": f"error: {message}", "timestamp": int(time.time())}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps(word))
