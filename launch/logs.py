"""What crews print: kept in the run's logs/ folder, and followed on the terminal.

Training keeps a log per rank in logs/attempt_<n>/. Here is the rest: torchrun's own words, and the traceback of
a process that did not get as far as its log.
"""

import sys
from pathlib import Path
from typing import IO


class Log:
    """One crew's log. Its processes write to the file themselves, so it survives this process."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file: IO[bytes] = open(path, "ab", buffering=0)
        self._reader: IO[bytes] = open(path, "rb")
        self._reader.seek(0, 2)  # what an earlier launch has left stays, and is not shown again
        self._prefix = prefix.encode()
        self._rest = b""

    def follow(self) -> None:
        """Show the lines that have come since the last call."""
        *lines, self._rest = (self._rest + self._reader.read()).split(b"\n")
        for line in lines:
            sys.stdout.buffer.write(self._prefix + line + b"\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Show what is left, an unfinished line included."""
        self.follow()
        if self._rest:
            sys.stdout.buffer.write(self._prefix + self._rest + b"\n")
            sys.stdout.flush()
        self.file.close()
        self._reader.close()
