"""Lines are whole, in order and all there, whatever the disk and the process before did."""

import errno
import os

import pytest

from tsal_dist.errors import DiskFull, ExchangeError
from tsal_dist.exchange import lines as lines_module
from tsal_dist.exchange.lines import Lines, last_line


class Disk:
    """Stands for `os.write` on a disk with `room` bytes left."""

    def __init__(self, room, monkeypatch):
        self.room = room
        self._real = os.write
        monkeypatch.setattr(lines_module.os, "write", self)

    def __call__(self, handle, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "full")
        taken = self._real(handle, bytes(data)[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", range(0, 24, 3))
def test_a_full_disk_delays_lines_and_tears_none(tmp_path, monkeypatch, caplog, room):
    path, disk = tmp_path / "m" / "x.jsonl", Disk(room, monkeypatch)
    lines = Lines(path)
    for number in range(5):
        lines.append(b"line %d" % number)
    assert lines.waiting_bytes == 35 - room
    assert caplog.text.count("wait for room") == 1
    disk.room = 1000
    lines.append(b"line 5")
    lines.close()
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(6))


def test_what_finds_no_room_at_the_end_is_said(tmp_path, monkeypatch, caplog):
    Disk(0, monkeypatch)
    lines = Lines(tmp_path / "x")
    lines.append(b"lost")
    lines.close()
    assert "5 bytes are missing at the end" in caplog.text


def test_so_much_may_wait_and_no_more(tmp_path, monkeypatch):
    Disk(0, monkeypatch)
    monkeypatch.setattr(lines_module, "MOST_WAITING_BYTES", 20)
    lines = Lines(tmp_path / "x")
    lines.append(bytes(10))
    with pytest.raises(DiskFull, match="the disk is full"):
        lines.append(bytes(10))


def test_other_failures_are_sentences(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(ExchangeError, match="a folder is in the way"):
        Lines(tmp_path / "x").append(b"1")


@pytest.mark.parametrize("block", [3, 8, 1 << 16])
@pytest.mark.parametrize(
    ("text", "kept", "last"),
    [
        (b"", b"", b""),
        (b"torn", b"", b""),
        (b"one\n", b"one\n", b"one"),
        (b"one\ntwo\nto", b"one\ntwo\n", b"two"),
        (b"one\n\n", b"one\n\n", b""),
        (b"a long line\nand a longer torn one", b"a long line\n", b"a long line"),
    ],
)
def test_a_torn_line_is_cut_off(tmp_path, monkeypatch, block, text, kept, last):
    monkeypatch.setattr(lines_module, "_BLOCK", block)
    path = tmp_path / "x"
    path.write_bytes(text)
    assert last_line(path) == last
    lines = Lines(path)
    lines.append(b"new")
    lines.close()
    assert path.read_bytes() == kept + b"new\n"
    assert last_line(path) == b"new"


def test_opening_reads_the_end_alone(tmp_path, monkeypatch):
    """A plan log of a long run has many gigabytes."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 99 + b"\n")
    os.truncate(path, 1 << 40)  # a hole: to read it would take minutes
    with open(path, "ab") as file:
        file.write(b"\nlast\nto")
    read = []

    def pread(handle, count, at, real=os.pread):
        read.append(count)
        return real(handle, count, at)

    monkeypatch.setattr(lines_module.os, "pread", pread)
    lines = Lines(path)
    lines.append(b"new")
    lines.close()
    assert last_line(path) == b"new"
    assert sum(read) < 1 << 20


def test_a_process_that_wakes_up_late_writes_over_nothing(tmp_path):
    path = tmp_path / "x"
    zombie, successor = Lines(path), Lines(path)
    zombie.append(b"z1")
    successor.append(b"s1")
    successor.append(b"s2")
    zombie.append(b"z2")
    assert path.read_bytes().split() == [b"z1", b"s1", b"s2", b"z2"]
    for each in (zombie, successor):
        each.close()
    assert last_line(tmp_path / "absent") == b""
