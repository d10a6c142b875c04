"""A file of lines that grows for weeks, kept in pieces: the newest is plain text, finished ones are compressed.

`plan.jsonl` is what is being written. When it is long enough it becomes `plan.000001.jsonl.gz`, and so on; the oldest
pieces go once all of them take more than they may. Nobody has to read what was written before to go on writing.
"""

import gzip
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from tsal_dist.errors import DataError, ExchangeError
from tsal_dist.exchange.lines import Lines
from tsal_dist.run_dir import list_names, plainly, write_whole

log = logging.getLogger(__name__)

PIECE_BYTES = 16 << 20
_LEVEL = 1  # a step waits for it


class Pieces:
    """Appends lines to `path`, in pieces of about `piece_bytes`. Finished ones take `keep_bytes` at most; None keeps all."""

    def __init__(self, path: Path, keep_bytes: int | None = None, piece_bytes: int = PIECE_BYTES) -> None:
        self._path = path
        self._keep_bytes = keep_bytes
        self._piece_bytes = piece_bytes
        self._lines = Lines(path)
        self._size = path.stat().st_size if path.exists() else 0
        for piece in _finished(path):
            # A crash came between its new name and its compression, or before the plain one was removed.
            if piece.suffix != ".gz":
                self._compress(piece)
            else:
                piece.with_suffix("").unlink(missing_ok=True)

    def append(self, line: bytes) -> None:
        if self._size >= self._piece_bytes and not self._lines.waiting_bytes:
            self._begin_piece()
        self._lines.append(line)
        self._size += len(line) + 1

    def close(self) -> None:
        self._lines.close()

    def _begin_piece(self) -> None:
        """Costs only room where it fails: the piece stays as it is."""
        self._lines.close()
        self._size = 0
        done = _finished(self._path)
        number = _number(done[-1]) + 1 if done else 1
        piece = self._path.with_suffix(f".{number:06d}{self._path.suffix}")
        try:
            with plainly("move", piece):
                os.rename(self._path, piece)
            self._compress(piece)
            self._forget_oldest()
        except ExchangeError as error:
            log.warning("%s is not compressed: %s", piece, error)
        self._lines = Lines(self._path)

    def _compress(self, piece: Path) -> None:
        try:
            with plainly("write", piece):
                write_whole(
                    piece.with_name(f"{piece.name}.gz"),
                    gzip.compress(piece.read_bytes(), _LEVEL, mtime=0),
                )
                piece.unlink()
        except ExchangeError as error:
            log.warning("%s is not compressed: %s", piece, error)

    def _forget_oldest(self) -> None:
        if self._keep_bytes is None:
            return
        with plainly("delete", self._path.parent):
            pieces = _finished(self._path)
            surplus = sum(piece.stat().st_size for piece in pieces) - self._keep_bytes
            for piece in pieces:
                if surplus <= 0:
                    return
                surplus -= piece.stat().st_size
                piece.unlink()


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every whole line that is left, oldest first, with the place to name in a message; DataError for a damaged piece."""
    for piece in [*_finished(path), path]:
        data = piece.read_bytes() if piece.exists() else b""
        if piece.suffix == ".gz":
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(
                    f"{piece} is damaged ({error}). Restore it; it cannot be made again."
                ) from None
        for number, line in enumerate(data.split(b"\n")[:-1]):  # what follows the last newline is torn
            yield f"{piece}, line {number + 1},", line


def _finished(path: Path) -> list[Path]:
    """The pieces before `path`, oldest first; of one that is there twice, the compressed one."""
    found: dict[int, Path] = {}
    pattern = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}(\.gz)?")
    for name in sorted(list_names(path.parent)):
        if match := pattern.fullmatch(name):
            found[int(match[1])] = path.with_name(name)  # sorted: .gz comes after the plain one
    return [found[number] for number in sorted(found)]


def _number(piece: Path) -> int:
    return int(piece.name.removesuffix(".gz").split(".")[-2])
