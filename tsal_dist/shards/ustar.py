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
        return self.offset + self.size + -self.size % BLOCK


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


def _decode_size(field: bytes, where: str) -> int:
    if field[0] & 0x80:  # GNU's base 256 for members over 8 GiB
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise DataError(
            f"{where}: the size field of a tar header is not a number; the tar is damaged."
        ) from None


def _check_name(name: str, where: str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{where}: member {name!r} points outside of its folder; do not unpack this tar.")


def walk(data: bytes | memoryview, where: str = "tar") -> Iterator[Member]:
    """Every plain file of the tar in `data`, then a check that the tar is complete. Links are refused.

    `where` names the tar in messages.
    """
    view = memoryview(data)
    position, long_name = 0, ""
    while True:
        head = bytes(view[position : position + BLOCK])
        if len(head) < BLOCK:
            raise DataError(f"{where}: ends at byte {len(view)} without its closing blocks; it was cut.")
        if not any(head):
            break
        if int(head[148:156].strip(b" \0") or b"0", 8) != sum(head) - sum(head[148:156]) + 256:
            raise DataError(f"{where}: the header at byte {position} fails its checksum; the tar is damaged.")
        size, kind = _decode_size(head[124:136], where), head[156:157]
        prefix, name = head[345:500].split(b"\0")[0], head[:100].split(b"\0")[0]
        if prefix and head[257:262] == b"ustar" and head[263:265] == b"00":
            name = prefix + b"/" + name
        text = long_name or name.decode("utf-8", "surrogateescape")
        member = Member(text, position + BLOCK, size)
        if member.end > len(view):
            raise DataError(f"{where}: member {text!r} ends after the file does; the tar was cut.")
        long_name = ""
        if kind in (b"L", b"x"):
            long_name = _long_name(bytes(view[member.offset : member.offset + size]), kind)
        elif kind in (b"0", b"\0"):
            _check_name(text, where)
            yield member
        elif kind not in (b"5", b"g"):
            raise DataError(f"{where}: member {text!r} is a link or a device; only plain files are read.")
        position = member.end
    if len(view) - position < len(END) or any(view[position : position + len(END)]):
        raise DataError(f"{where}: has one closing block where a complete tar has two; it was cut.")


def _long_name(data: bytes, kind: bytes) -> str:
    """The name that a GNU `L` or a pax `x` header gives to the member after it; "" when it gives none."""
    if kind == b"L":
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    while data:
        length = int(data.split(b" ", 1)[0])
        key, _, value = data[:length].split(b" ", 1)[1].partition(b"=")
        if key == b"path":
            return value.rstrip(b"\n").decode("utf-8", "surrogateescape")
        data = data[length:]
    return ""
