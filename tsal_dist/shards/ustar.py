"""Tar members as bytes: the same input gives the same tar, and a tar that was cut is noticed.

Written headers are plain ustar with every variable field fixed: mode 0444, owner 0, time 0. A complete tar ends
in two blocks of zeros; Python's tarfile and webdataset accept a tar that was cut between two members, `walk`
does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tsal_dist.errors import DataError

BLOCK = 512
END = bytes(2 * BLOCK)
_MAX_SIZE = 8**11 - 1


# What every header has in common, with spaces for the checksum as its definition wants.
_BLANK = (
    bytes(100)  # name
    + b"0000444\0" + b"0000000\0" * 2  # mode, owner, group
    + bytes(12)  # size
    + b"00000000000\0" + b" " * 8 + b"0"  # time, checksum, plain file
    + bytes(100)  # target of a link
    + b"ustar\00000" + bytes(64)  # format, names of owner and group
    + b"0000000\0" * 2  # device
    + bytes(BLOCK - 345)  # prefix of the name
)  # fmt: skip
_BLANK_SUM = sum(_BLANK)


@dataclass(frozen=True)
class Member:
    """A file in a tar: `offset` is that of its first data byte."""

    name: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return _following(self.offset, self.size)


def encode_header(name: str, size: int) -> bytes:
    """The 512 bytes before a member's data."""
    raw = name.encode("ascii")
    prefix = b""
    if len(raw) > 100:
        folder, _, last = raw.rpartition(b"/")
        prefix, raw = folder, last
    if not raw or len(raw) > 100 or len(prefix) > 155 or not 0 <= size <= _MAX_SIZE:
        raise DataError(
            f"Member {name!r} of {size} bytes does not fit a ustar header (100 + 155 bytes of name)."
        )
    head = bytearray(_BLANK)
    size_field = b"%011o" % size
    head[0 : len(raw)] = raw
    head[124:135] = size_field
    head[345 : 345 + len(prefix)] = prefix
    head[148:156] = b"%06o\0 " % (_BLANK_SUM + sum(raw) + sum(size_field) + sum(prefix))
    return bytes(head)


def encode_member(name: str, data: bytes | memoryview) -> list[bytes | memoryview]:
    """Header, data and padding, to be written one after the other."""
    return [encode_header(name, len(data)), data, bytes(-len(data) % BLOCK)]


def _following(offset: int, size: int) -> int:
    return offset + size + -size % BLOCK


def _decode_size(field: bytes, where: str) -> int:
    if field[0] & 0x80:  # GNU's base 256 for members over 8 GiB
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return _decode_octal(field, where)


def _decode_octal(field: bytes, where: str) -> int:
    """Digits of a header field. Python alone would also read `-7`, with which a reader walks in circles, and `1_0`."""
    digits = field.strip(b" \0") or b"0"
    if digits.strip(b"01234567"):
        raise DataError(f"{where}: a number in a tar header is not octal; the tar is damaged.")
    return int(digits, 8)


def _shown(raw: bytes) -> str:
    return repr(raw.decode("utf-8", "backslashreplace"))


def _check_name(raw: bytes, where: str) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"{where}: member {_shown(raw)} has a name that is not UTF-8. Pack the tar again."
        ) from None
    if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{where}: member {name!r} points outside of its folder; do not unpack this tar.")
    return name


def walk(data: bytes | memoryview, where: str = "tar") -> Iterator[Member]:
    """Every plain file of the tar in `data`, then a check that the tar is complete. Links are refused.

    `where` names the tar in messages.
    """
    view = memoryview(data)
    position, long_name = 0, b""
    while True:
        head = bytes(view[position : position + BLOCK])
        if len(head) < BLOCK:
            raise DataError(f"{where}: ends at byte {len(view)} without its closing blocks; it was cut.")
        if not any(head):
            break
        if _decode_octal(head[148:156], where) != sum(head) - sum(head[148:156]) + 256:
            raise DataError(f"{where}: the header at byte {position} fails its checksum; the tar is damaged.")
        size, kind = _decode_size(head[124:136], where), head[156:157]
        prefix, name = head[345:500].split(b"\0")[0], head[:100].split(b"\0")[0]
        if prefix and head[257:262] == b"ustar" and head[263:265] == b"00":
            name = prefix + b"/" + name
        name = long_name or name
        offset = position + BLOCK
        following = _following(offset, size)
        if following > len(view):
            raise DataError(f"{where}: member {_shown(name)} ends after the file does; the tar was cut.")
        long_name = b""
        if kind in (b"L", b"x"):
            long_name = _long_name(bytes(view[offset : offset + size]), kind, where)
        elif kind in (b"0", b"\0"):
            yield Member(_check_name(name, where), offset, size)
        elif kind not in (b"5", b"g"):
            raise DataError(
                f"{where}: member {_shown(name)} is a link or a device; only plain files are read."
            )
        position = following
    if len(view) - position < len(END) or any(view[position : position + len(END)]):
        raise DataError(f"{where}: has one closing block where a complete tar has two; it was cut.")


def _long_name(data: bytes, kind: bytes, where: str) -> bytes:
    """The name that a GNU `L` or a pax `x` header gives to the member after it; b"" when it gives none."""
    if kind == b"L":
        return data.rstrip(b"\0")
    while data:
        digits, space, rest = data.partition(b" ")
        # A length that does not lead on would have a reader walk in circles.
        if not (digits.isdigit() and space and len(digits) < int(digits[:9]) <= len(data)):
            raise DataError(
                f"{where}: an extended tar header is not made of lengths and values; it is damaged."
            )
        key, _, value = rest[: int(digits) - len(digits) - 1].partition(b"=")
        if key == b"path":
            return value.removesuffix(b"\n")
        data = data[int(digits) :]
    return b""
