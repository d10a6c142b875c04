import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.shards.ustar import BLOCK, END, encode_header, encode_member, walk

names = st.from_regex(r"[a-z%0-9]{1,30}(/[a-z%0-9]{1,60}){0,3}\.jpg", fullmatch=True)


def build_tar(files):
    return b"".join(bytes(part) for name, data in files for part in encode_member(name, data)) + END


@given(st.dictionaries(names, st.binary(max_size=1500), max_size=5))
def test_python_and_our_walk_read_what_was_written(files):
    data = build_tar(files.items())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {info.name: tar.extractfile(info).read() for info in tar} == files
    found = {one.name: data[one.offset : one.offset + one.size] for one in walk(data)}
    assert found == files


def test_the_same_member_has_the_same_bytes_and_no_trace_of_its_maker():
    with tarfile.open(fileobj=io.BytesIO(build_tar([("a.jpg", b"x")]))) as tar:
        info = tar.getmember("a.jpg")
    assert (info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, 0, "", "", 0o444)


def test_a_tar_that_was_cut_is_noticed_at_every_block():
    data = build_tar([("a.jpg", b"x" * 700), ("b.jpg", b""), ("c.jpg", b"y" * 512)])
    for size in range(0, len(data), BLOCK):
        with pytest.raises(DataError, match="cut"):
            list(walk(data[:size]))
    assert len(list(walk(data))) == 3


def test_a_damaged_header_is_noticed():
    data = bytearray(build_tar([("a.jpg", b"x")]))
    data[3] ^= 1
    with pytest.raises(DataError, match="checksum"):
        list(walk(bytes(data)))


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_of_other_writers_are_read(format):
    name = "n" * 180 + ".jpg"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        info = tarfile.TarInfo(name)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    data = buffer.getvalue()
    assert [(one.name, data[one.offset : one.offset + one.size]) for one in walk(data)] == [(name, b"abc")]


def plain_tar(name, kind=tarfile.REGTYPE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
        tar.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "a/../../b.jpg"])
def test_members_that_leave_the_folder_are_refused(name):
    with pytest.raises(DataError, match="outside"):
        list(walk(plain_tar(name)))


def test_links_are_refused():
    with pytest.raises(DataError, match="link"):
        list(walk(plain_tar("a.jpg", tarfile.SYMTYPE)))


@pytest.mark.parametrize(("name", "size"), [("n" * 101, 0), ("", 0), ("a.jpg", 8**11)])
def test_what_does_not_fit_a_header_is_refused(name, size):
    with pytest.raises(DataError, match="does not fit"):
        encode_header(name, size)


def sealed(data, place, field):
    """The first header with `field` at `place`, under a checksum that fits."""
    head = data[:place] + field + data[place + len(field) : BLOCK]
    head = head[:148] + b" " * 8 + head[156:]
    return head[:148] + b"%06o\0 " % sum(head) + head[156:] + data[BLOCK:]


@pytest.mark.parametrize(
    ("place", "field", "rule"),
    [
        (124, b"-0000001000\0", "not octal"),  # a negative size leads back, and round and round
        (124, b"00000001_00\0", "not octal"),
        (0, b"a\xff", "not UTF-8"),
        (0, b"..\0", "outside"),
        (0, b"\0", "outside"),
    ],
)
def test_a_header_that_lies_under_a_good_checksum_is_refused(place, field, rule):
    with pytest.raises(DataError, match=rule):
        list(walk(sealed(build_tar([("a.jpg", b"x")]), place, field)))


def test_a_checksum_that_is_no_number_is_damage():
    data = build_tar([("a.jpg", b"x")])
    with pytest.raises(DataError, match="not octal"):
        list(walk(data[:148] + b"8x" + data[150:]))


@pytest.mark.parametrize("record", [b"0 path=a\n", b"-9 path=a\n", b"5", b"x path=a\n", b"99 path=a\n"])
def test_an_extended_header_that_leads_nowhere_is_refused(record):
    header = bytearray(encode_header("PaxHeader", len(record)))
    data = sealed(bytes(header), 156, b"x") + record.ljust(BLOCK, b"\0") + build_tar([("a.jpg", b"x")])
    with pytest.raises(DataError, match="lengths and values"):
        list(walk(data))
