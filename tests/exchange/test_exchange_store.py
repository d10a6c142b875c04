"""Every store keeps the contract that the protocol relies on."""

import threading

import pytest

from tests.fakes_store import object_store, s3_filesystem
from tsal_dist.errors import ConfigError, ExchangeError
from tsal_dist.exchange import objects, posix
from tsal_dist.exchange.locate import open_store
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.objects import ObjectStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.store import NameAbsent, NameTaken, ensure


@pytest.fixture(scope="module")
def s3():
    with s3_filesystem() as filesystem:
        yield filesystem


def refuse_links(*_args):
    raise OSError(posix.errno.EPERM, "no hard links here")


@pytest.fixture(params=["memory", "memory-objects", "posix", "posix-durable", "posix-no-links", "s3"])
def store(request, tmp_path, monkeypatch):
    match request.param:
        case "memory":
            return MemoryStore()
        case "memory-objects":
            return MemoryStore(appends=False)
        case "s3":
            return object_store(request.getfixturevalue("s3"), request.node.name)
        case "posix-no-links":
            monkeypatch.setattr(posix.os, "link", refuse_links)
    return PosixStore(tmp_path / "root", create=True, durable=request.param == "posix-durable")


def test_put_new_is_exclusive(store):
    store.put_new("a/b", b"first")
    with pytest.raises(NameTaken):
        store.put_new("a/b", b"second")
    assert store.get("a/b") == b"first"


def test_one_of_many_writers_wins(store):
    won = []

    def write(number):
        try:
            store.put_new("a/race", b"%d" % number)
        except NameTaken:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("a/race") == b"%d" % won[0]


def test_replace_and_get_ranges(store):
    store.replace("c", b"old")
    store.replace("c", b"0123456789")
    assert store.get("c") == b"0123456789"
    assert store.get("c", 4) == b"456789"
    assert store.get("c", 4, 3) == b"456"


def test_absent_names(store):
    with pytest.raises(NameAbsent):
        store.get("nothing/here")
    with pytest.raises(NameAbsent):
        store.move("nothing/here", "there")
    store.delete("nothing/here")
    assert store.children("nothing") == []


def test_children_are_sorted_and_start_after(store):
    for name in ("f/b", "f/a", "f/c/deep", "f/c/deeper", "g/x"):
        store.put_new(name, b"")
    assert store.children("f") == ["a", "b", "c"]
    assert store.children("f", after="a") == ["b", "c"]
    assert store.children("f", after="c") == []


def test_move_and_delete(store):
    store.put_new("d/one", b"1")
    store.move("d/one", "e/two")
    assert store.get("e/two") == b"1"
    assert store.children("d") == []
    store.delete("e/two")
    with pytest.raises(NameAbsent):
        store.get("e/two")


def test_append_overwrites_a_torn_tail_and_refuses_a_gap(store):
    if not store.appends:
        with pytest.raises(ExchangeError, match="no append"):
            store.append("log", b"x", 0)
        return
    store.put_new("log", b"")
    store.append("log", b"aaaa", 0)
    store.append("log", b"bb", 4)
    store.append("log", b"cccc", 4)
    assert store.get("log") == b"aaaacccc"
    assert store.get("log", 8) == b""
    with pytest.raises(ExchangeError):
        store.append("log", b"d", 9)
    with pytest.raises(NameAbsent):
        store.append("no-log", b"d", 0)


def test_ensure_keeps_what_is_there(store):
    ensure(store, "h/x")
    assert store.get("h/x") == b""
    store.replace("h/x", b"kept")
    ensure(store, "h/x")
    assert store.get("h/x") == b"kept"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a\\b", "."])
def test_names_cannot_leave_the_root(store, name):
    for action in (lambda: store.get(name), lambda: store.put_new(name, b""), lambda: store.delete(name)):
        with pytest.raises(ExchangeError, match="no name of a store"):
            action()


def test_listing_pages(s3, monkeypatch):
    monkeypatch.setattr(objects, "PAGE_NAMES", 3)
    store = object_store(s3, "pages")
    names = [f"{number:06d}" for number in range(8)]
    for name in names:
        store.put_new(f"l/{name}", b"")
    assert store.children("l") == names
    assert store.children("l", after="000003") == names[4:]


def test_an_fsspec_filesystem_without_start_after(tmp_path):
    import fsspec

    store = ObjectStore(fsspec.filesystem("memory"), f"{tmp_path.name}/q")
    store.put_new("l/a", b"")
    store.put_new("l/b", b"")
    with pytest.raises(NameTaken):
        store.put_new("l/b", b"")
    assert store.children("l", after="a") == ["b"]


def test_open_store_by_path_and_url(tmp_path):
    with pytest.raises(ConfigError, match="not a directory"):
        open_store(tmp_path / "absent")
    assert isinstance(open_store(tmp_path / "made", create=True), PosixStore)
    assert isinstance(open_store("memory://bucket/q"), ObjectStore)
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_store("nosuchprotocol://x")


def test_an_unreachable_object_store_is_one_error():
    import s3fs

    filesystem = s3fs.S3FileSystem(
        key="k",
        secret="s",
        endpoint_url="http://127.0.0.1:9",
        skip_instance_cache=True,
        config_kwargs={"retries": {"max_attempts": 0}},
    )
    filesystem.retries = 1
    with pytest.raises(ExchangeError, match="endpoint"):
        ObjectStore(filesystem, "queue/x").get("a")
