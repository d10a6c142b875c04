"""What a disk, a network, an editor or a stranger does to bytes: flips, cuts, holes, repeats, and words that parsers
trip over."""

from hypothesis import strategies as st

NASTY = (
    b"", b"\0", b"\xff", b"\xc3\x28", b"\n", b"\r", b"\xef\xbb\xbf", b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0",
    b"9" * 40, b"1_0", b"\xd9\xa3", b"0x10", b"null", b"true", b"{}", b"[]", b'""', b"[" * 4000, b'{"a":' * 4000,
    b"..", b"../../etc/passwd", b"/etc/passwd", b"\\", b'"', b"'", b",", b"#", b"$", b" ", b"\xc2\xb2", b"\\ud800",
)  # fmt: skip
"""Each has broken a parser somewhere."""


@st.composite
def damaged(draw, whole: bytes):
    """`whole` after one to three accidents."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from(ACCIDENTS))(draw, data)
    return data


def _place(draw, data):
    return draw(st.integers(0, max(0, len(data) - 1)))


def _flip(draw, data):
    at = _place(draw, data)
    return (
        data[:at] + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1]) + data[at + 1 :]
    )


def _cut(draw, data):
    return data[: _place(draw, data)]


def _lose(draw, data):
    at = _place(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 64)) :]


def _repeat(draw, data):
    at = _place(draw, data)
    piece = data[at : at + draw(st.integers(1, 64))]
    return data[:at] + piece * 2 + data[at + len(piece) :]


def _zero(draw, data):
    """A hole, as a disk leaves one after a power cut."""
    at, size = _place(draw, data), draw(st.integers(1, 64))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def _write_over(draw, data):
    at, word = _place(draw, data), draw(st.sampled_from(NASTY) | st.binary(max_size=8))
    return data[:at] + word + data[at + len(word) :]


def _replace_word(draw, data):
    """One value of a text format becomes another."""
    words = [at for at in range(len(data)) if data[at : at + 1].isalnum() and not data[at - 1 : at].isalnum()]
    if not words:
        return data
    start = draw(st.sampled_from(words))
    stop = next((at for at in range(start, len(data)) if not data[at : at + 1].isalnum()), len(data))
    return data[:start] + draw(st.sampled_from(NASTY)) + data[stop:]


ACCIDENTS = (_flip, _cut, _lose, _repeat, _zero, _write_over, _replace_word)
