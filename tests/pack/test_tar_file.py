"""A tar written beside the thread that adds to it: the same bytes, in order, and no error lost."""

import hashlib
import threading

import numpy as np
import pytest

from tsal_dist.pack.write import TarFile
from tsal_dist.shards.ustar import walk


def images(count=50):
    rng = np.random.default_rng(0)
    return [memoryview(rng.bytes(int(size))) for size in rng.integers(1, 3000, count)]


def test_members_lie_where_the_index_says_and_the_digest_is_the_files(tmp_path):
    path = tmp_path / "a.tar"
    tar, given = TarFile(path), images()
    for number, image in enumerate(given):
        assert tar.frames == number
        tar.add(f"k-{number:08d}", image, b"{}")
    index, digest = tar.finish()
    data = path.read_bytes()
    assert digest == hashlib.sha256(data).hexdigest()
    assert len(data) == tar.size_bytes
    assert [member.name for member in walk(data)][::2] == [f"k-{number:08d}.jpg" for number in range(50)]
    for record, image in zip(index, given, strict=True):
        start = int(record["jpg_offset"])
        assert data[start : start + int(record["jpg_size"])] == bytes(image)


def test_it_is_written_by_another_thread(tmp_path, monkeypatch):
    tar, threads = TarFile(tmp_path / "a.tar"), set()
    write = tar._write
    monkeypatch.setattr(tar, "_write", lambda parts: threads.add(threading.current_thread()) or write(parts))
    tar.add("a", memoryview(b"x"), b"{}")
    tar._under_way[0].result()
    assert threads
    assert threading.main_thread() not in threads
    tar.abandon()


def test_what_went_wrong_while_writing_is_raised(tmp_path, monkeypatch):
    tar = TarFile(tmp_path / "a.tar")

    def full(parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tar, "_write", full)
    for number in range(16):  # so many may wait before anybody asks how they fared
        tar.add(f"k{number}", memoryview(b"x"), b"{}")
    with pytest.raises(OSError, match="No space"):
        tar.add("k", memoryview(b"x"), b"{}")
    tar.abandon()
    tar = TarFile(tmp_path / "b.tar")
    monkeypatch.setattr(tar, "_write", full)
    tar.add("a", memoryview(b"x"), b"{}")
    with pytest.raises(OSError, match="No space"):
        tar.finish()
    tar.abandon()
