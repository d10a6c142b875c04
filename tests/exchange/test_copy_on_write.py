"""A copy on write behaves like the store that it lies over, which stays as it is."""

import pytest

from tsal_dist.exchange.copy_on_write import CopyOnWriteStore
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.store import NameAbsent, NameTaken


@pytest.fixture
def beneath():
    store = MemoryStore()
    for name, data in {"a/one": b"1", "a/two": b"22", "log": b"abc"}.items():
        store.put_new(name, data)
    return store


def test_the_same_operations_have_the_same_results_and_leave_no_trace(beneath):
    plain = MemoryStore()
    plain.files = dict(beneath.files)
    before = dict(beneath.files)
    over = CopyOnWriteStore(beneath)
    for store in (plain, over):
        store.put_new("a/three", b"333")
        store.replace("a/one", b"uno")
        store.append("log", b"def", 3)
        store.append("log", b"gh", 4)
        store.move("a/two", "b/two")
        store.delete("a/three")
        store.delete("absent")
    assert over.children("a") == plain.children("a") == ["one"]
    assert over.children("b") == plain.children("b") == ["two"]
    assert [over.get(name) for name in ("a/one", "log", "b/two")] == [b"uno", b"abcdgh"[:4] + b"gh", b"22"]
    for name in ("a/one", "log", "b/two"):
        assert over.get(name, 1, 2) == plain.get(name, 1, 2)
    for store in (plain, over):
        with pytest.raises(NameAbsent):
            store.get("a/two")
        with pytest.raises(NameTaken):
            store.put_new("a/one", b"")
        store.put_new("a/two", b"again")
        assert store.children("a", after="one") == ["two"]
    assert beneath.files == before
