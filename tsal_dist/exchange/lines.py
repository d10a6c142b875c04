"""A file of lines that one process appends to. While the disk is full, lines wait in memory: nothing stops for them.

What a killed process left of its last line is cut off before anything is added. Opening reads that line's bytes only,
however long the file has become.
"""

import logging
import os
from pathlib import Path

from tsal_dist.errors import DiskFull
from tsal_dist.run_dir import NO_ROOM, make_folder, plainly

log = logging.getLogger(__name__)

MOST_WAITING_BYTES = 64 << 20
"""So much may wait for room; a disk that is full for longer has stopped the checkpoints before."""
_BLOCK = 1 << 16


class Lines:
    """Appends whole lines to `path`; `append` never raises for a disk that is full for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._waiting = bytearray()
        self._mute = False

    @property
    def waiting_bytes(self) -> int:
        """What is not on disk yet."""
        return len(self._waiting)

    def append(self, line: bytes) -> None:
        """Add one line, without its newline. DiskFull only where too much waits."""
        self._waiting += line + b"\n"
        with plainly("write", self._path):
            try:
                self._write()
            except OSError as error:
                if error.errno not in NO_ROOM or len(self._waiting) > MOST_WAITING_BYTES:
                    raise
                if not self._mute:  # said once, not at every step
                    log.warning("the disk is full: lines of %s wait for room", self._path)
                self._mute = True
            else:
                self._mute = False

    def close(self) -> None:
        """Write what waits, if there is room by now."""
        try:
            if self._waiting:
                with plainly("write", self._path):
                    self._write()
        except DiskFull as full:
            log.warning("%d bytes are missing at the end: %s", len(self._waiting), full)
        finally:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def _write(self) -> None:
        if self._handle is None:
            make_folder(self._path.parent)
            # Appended by the system: a process that wakes up late must not write over its successor's lines.
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o660)
            os.ftruncate(self._handle, _whole_bytes(self._handle))
        while self._waiting:
            # A line of which only a part found room goes on where it stopped.
            written = os.write(self._handle, self._waiting)
            del self._waiting[:written]


def last_line(path: Path) -> bytes:
    """The last whole line without its newline; b"" where there is none. Reads no more than it must."""
    with plainly("read", path):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            end = _whole_bytes(handle)
            start = _line_start(handle, end - 1) if end else 0
            return os.pread(handle, max(0, end - 1 - start), start)
        finally:
            os.close(handle)


def _whole_bytes(handle: int) -> int:
    """Where the last whole line ends."""
    return _line_start(handle, os.fstat(handle).st_size)


def _line_start(handle: int, end: int) -> int:
    """The byte after the last newline before `end`."""
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
