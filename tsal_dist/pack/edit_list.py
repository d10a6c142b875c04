"""Whether an MP4 or MOV hides a part of its frames: a clip that a phone trimmed, or that was cut without being encoded anew,
holds all frames from a key frame on, and a list of edits says which of them are shown. Players and decoders heed it, and the
file's count of frames does not."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

MOST_BYTES = 1 << 26
"""Of the file's table of contents: hours of video need a few megabytes."""
SPARE_FRAMES = 0.5
"""Times are rounded."""


def hides_frames(path: str) -> bool:
    """Whether fewer frames are shown than are stored; no for a file that is no MP4, or is broken."""
    try:
        with open(path, "rb") as file:
            movie = _read_movie(file)
        return any(_hides(track, movie) for kind, track in _boxes(movie) if kind == b"trak")
    except (OSError, struct.error, ZeroDivisionError):
        return False


def _read_movie(file: BinaryIO) -> bytes:
    """The box `moov`, wherever in the file it is; empty without one."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        past = 8
        if size == 1:
            size, past = *struct.unpack(">Q", file.read(8)), 16
        if kind == b"moov":
            return file.read(min(size - past, MOST_BYTES) if size >= past else MOST_BYTES)
        if size < past:
            break  # up to the end of the file, or nonsense
        file.seek(size - past, 1)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes in a box, by kind."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8:
            return
        yield kind, data[start + 8 : start + size]
        start += size


def _find(data: bytes, *kinds: bytes) -> bytes:
    """The first box of the first kind, in it that of the second, and so on; empty where there is none."""
    for kind in kinds:
        data = next((inner for found, inner in _boxes(data) if found == kind), b"")
    return data


def _hides(track: bytes, movie: bytes) -> bool:
    edits, media = _find(track, b"edts", b"elst"), _find(track, b"mdia")
    if not edits or _find(media, b"hdlr")[8:12] != b"vide":
        return False
    rate, duration = _clock(_find(media, b"mdhd"))
    movie_rate, _ = _clock(_find(movie, b"mvhd"))
    (stored,) = struct.unpack_from(">I", _find(media, b"minf", b"stbl", b"stsz"), 8)
    shown_s = sum(length for length, begin in _edits(edits) if begin >= 0) / movie_rate
    # An edit of no length is the rest of a file that was written piece by piece.
    return bool(0 < shown_s < duration / rate * (1 - SPARE_FRAMES / stored))


def _clock(box: bytes) -> tuple[int, int]:
    """Ticks per second and the length in ticks, of `mvhd` or `mdhd`."""
    rate, length = (
        struct.unpack_from(">IQ", box, 20) if box[:1] == b"\1" else struct.unpack_from(">II", box, 12)
    )
    return int(rate), int(length)


def _edits(box: bytes) -> list[tuple[int, int]]:
    """The length of each edit, in the movie's ticks, and where it begins, in the media's; -1 shows nothing."""
    form, step = (">Qq", 20) if box[:1] == b"\1" else (">Ii", 12)
    count = struct.unpack_from(">I", box, 4)[0]
    return [struct.unpack_from(form, box, 8 + step * number) for number in range(count)]
