"""What a filesystem can do wrong, and the one sentence it becomes."""

import errno
import os
import shutil

import pytest

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange import posix
from tsal_dist.exchange.posix import PosixStore


@pytest.fixture
def store(tmp_path):
    return PosixStore(tmp_path / "root", create=True)


def leftovers(store):
    folder = store.root / "tmp"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    store.put_new("d/before", b"kept")

    def write(handle, data, real=os.write):
        if len(data) > 2:
            return real(handle, data[:2])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(posix.os, "write", write)
    with pytest.raises(ExchangeError, match="disk is full"):
        store.put_new("d/after", b"12345")
    assert store.children("d") == ["before"]
    assert leftovers(store) == []
    assert store.get("d/before") == b"kept"


def test_a_short_append_is_a_full_disk(store, monkeypatch):
    store.put_new("log", b"")
    monkeypatch.setattr(posix.os, "pwrite", lambda handle, data, at: len(data) - 1)
    with pytest.raises(ExchangeError, match="disk is full"):
        store.append("log", b"1234", 0)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "may not write"), (errno.EIO, "kernel log")],
)
def test_other_failures_name_the_remedy(store, monkeypatch, number, words):
    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(posix.os, "open", refuse)
    with pytest.raises(ExchangeError, match=words):
        store.put_new("x", b"1")


def test_a_deleted_root_is_not_silently_made_again(store):
    shutil.rmtree(store.root)
    for action in (lambda: store.put_new("a/b", b""), lambda: store.get("a/b")):
        with pytest.raises(ExchangeError, match="was deleted"):
            action()
    assert not store.root.exists()


def test_a_stale_handle_is_opened_again(store, monkeypatch):
    store.replace("c", b"now")
    calls = []

    def read(path, start, length, real=posix._read):
        calls.append(path)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "stale")
        return real(path, start, length)

    monkeypatch.setattr(posix, "_read", read)
    assert store.get("c") == b"now"


def test_without_hard_links_a_failed_rename_frees_the_name(store, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(posix.os, "link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(posix.os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "bad")))
        with pytest.raises(ExchangeError, match="kernel log"):
            store.put_new("a/name", b"1")
    store.put_new("a/name", b"2")
    assert store.get("a/name") == b"2"
    assert store.children("a") == ["name"]


def test_sweep_takes_only_what_is_old(store):
    store.put_new("x", b"")
    old, young = store.root / "tmp" / "old", store.root / "tmp" / "young"
    for path in (old, young):
        path.write_bytes(b"torn")
    os.utime(old, (1, 1))
    assert store.sweep(older_than_s=3600) == 1
    assert leftovers(store) == [young]


def test_folders_are_not_open_to_the_world(store):
    store.put_new("a/b", b"")
    assert (store.root / "a").stat().st_mode & 0o007 == 0
