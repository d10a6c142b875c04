"""A long file of lines in pieces: nothing is lost at a border, the oldest go, and going on reads none of them."""

import errno
import gzip

import pytest

from tsal_dist.errors import DataError
from tsal_dist.exchange import pieces as pieces_module
from tsal_dist.exchange.pieces import Pieces, read_lines


def lines_of(path):
    return [line for _, line in read_lines(path)]


def written(path, count, first=0, **settings):
    pieces = Pieces(path, piece_bytes=50, **settings)
    for number in range(first, first + count):
        pieces.append(b"line %04d" % number)
    pieces.close()


def expected(first, stop):
    return [b"line %04d" % number for number in range(first, stop)]


def test_every_line_is_there_in_its_order(tmp_path):
    path = tmp_path / "metrics" / "plan.jsonl"
    assert lines_of(path) == []
    written(path, 33)
    written(path, 33, 33)  # a process that goes on
    assert lines_of(path) == expected(0, 66)
    names = sorted(piece.name for piece in path.parent.iterdir())
    assert names[0] == "plan.000001.jsonl.gz"
    assert names[-1] == "plan.jsonl"
    assert len(names) == 66 // 5 + 1


def test_the_oldest_pieces_go(tmp_path):
    path = tmp_path / "plan.jsonl"
    written(path, 66, keep_bytes=200)
    left = lines_of(path)
    assert left == expected(66 - len(left), 66)
    assert sum(piece.stat().st_size for piece in tmp_path.glob("*.gz")) <= 200
    written(path, 1, 66, keep_bytes=200)
    assert len(list(tmp_path.glob("*.gz"))) >= 2


@pytest.mark.parametrize("moment", ["renamed", "compressed"])
def test_a_crash_at_a_border_loses_and_repeats_nothing(tmp_path, moment):
    path = tmp_path / "plan.jsonl"
    written(path, 5)
    text = path.read_bytes()
    path.rename(tmp_path / "plan.000001.jsonl")
    if moment == "compressed":
        (tmp_path / "plan.000001.jsonl.gz").write_bytes(gzip.compress(text))
    assert lines_of(path) == expected(0, 5)
    written(path, 7, 5)
    assert lines_of(path) == expected(0, 12)
    assert {piece.suffix for piece in tmp_path.glob("plan.0*")} == {".gz"}


def test_a_full_disk_at_a_border_costs_only_room(tmp_path, monkeypatch, caplog):
    def full(*_args):
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "plan.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(pieces_module, "write_whole", full)
        written(path, 12)
    assert "is not compressed" in caplog.text
    assert lines_of(path) == expected(0, 12)


def test_a_damaged_piece_is_named(tmp_path):
    path = tmp_path / "plan.jsonl"
    written(path, 12)
    piece = tmp_path / "plan.000001.jsonl.gz"
    data = bytearray(piece.read_bytes())
    data[-6] ^= 1
    piece.write_bytes(data)
    with pytest.raises(DataError, match=r"plan\.000001\.jsonl\.gz is damaged"):
        lines_of(path)


def test_going_on_reads_no_finished_piece(tmp_path):
    path = tmp_path / "plan.jsonl"
    written(path, 5)
    (tmp_path / "plan.000001.jsonl.gz").mkdir()  # would be an error to read
    pieces = Pieces(path)
    pieces.append(b"more")
    pieces.close()
    assert path.read_bytes().endswith(b"line 0004\nmore\n")
