"""A process learns that its turn is over: by one read of a file that exists, whatever a listing shows."""

import threading

import pytest

from tests.fakes_store import CountingStore, FaultyStore, LaggingStore, flaky
from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure, surviving


def test_a_successor_ends_a_turn():
    store = MemoryStore()
    first = begin_tenure(store, "teacher", 0, "run")
    first.require()
    second = begin_tenure(store, "teacher", 0, "run")
    second.require()
    with pytest.raises(StaleRun, match="incarnation 2; this process is incarnation 1"):
        first.require()
    assert (first.over, second.over) == (True, False)
    assert begin_tenure(store, "teacher", 11, "run").incarnation == 1  # rank 11 is not rank 1


def test_no_listing_is_needed_to_find_out():
    """An NFS client shows a folder as it was for up to a minute; so the turn is asked of a file."""
    store = MemoryStore()
    zombies_view = LaggingStore(CountingStore(store))
    zombie = begin_tenure(zombies_view, "student", 0, "run")
    zombie.require()
    begin_tenure(store, "student", 0, "run")
    before = dict(zombies_view.inner.counts)
    with pytest.raises(StaleRun):
        zombie.require()
    after = dict(zombies_view.inner.counts)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"get": 1}


def test_processes_that_start_together_have_different_numbers_and_one_is_left():
    store, got = MemoryStore(), []
    threads = [
        threading.Thread(target=lambda: got.append(begin_tenure(store, "teacher", 1, "run")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tenure.incarnation for tenure in got}) == 8
    for _ in range(2):  # one that is ahead says so again where a slow one has written over it
        left = [tenure for tenure in got if not tenure.over]
    assert [tenure.incarnation for tenure in left] == [max(tenure.incarnation for tenure in got)]


@pytest.mark.parametrize("stale_listing", [False, True])
def test_numbers_rise_though_old_claims_are_removed(tmp_path, stale_listing):
    store = PosixStore(tmp_path, create=True)
    view = LaggingStore(store) if stale_listing else store
    numbers = [begin_tenure(view, "student", 0, "run").incarnation for _ in range(50)]
    assert numbers == sorted(set(numbers))
    claims = [path for path in (tmp_path / "ctl" / "hello").iterdir() if ".claim-" in path.name]
    assert stale_listing or len(claims) == 1, "a folder that is listed at every start must not grow"


def test_a_slow_predecessor_cannot_take_the_turn_back():
    store = MemoryStore()
    slow = begin_tenure(store, "student", 0, "run")
    newest = begin_tenure(store, "student", 0, "run")
    slow._write()  # its write arrives late
    newest.require()
    with pytest.raises(StaleRun):
        slow.require()


def test_a_run_made_anew_under_a_living_process_is_another_one():
    store = MemoryStore()
    old = begin_tenure(store, "student", 0, "run")
    store.files.clear()  # --clean
    with pytest.raises(StaleRun, match="the run was removed under it"):
        old.require()
    fresh = begin_tenure(store, "student", 0, "another run")
    assert fresh.incarnation == old.incarnation, "the numbers alone would not tell them apart"
    with pytest.raises(StaleRun, match="now holds run another run"):
        old.require()
    fresh.require()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"incarnation": "9"}', b"\xff"])
def test_a_damaged_register_ends_nobody(text):
    store = MemoryStore()
    tenure = begin_tenure(store, "student", 0, "run")
    store.replace("ctl/hello/student-0.turn", text)
    tenure.require()
    assert begin_tenure(store, "student", 0, "run").incarnation == 2


def test_a_flipped_bit_is_no_successor():
    store = MemoryStore()
    tenure = begin_tenure(store, "student", 0, "run")
    whole = store.get("ctl/hello/student-0.turn")
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            store.replace("ctl/hello/student-0.turn", bytes(data))
            tenure.require()


def test_a_disk_that_cannot_be_read_is_not_a_successor():
    tenure = begin_tenure(MemoryStore(), "student", 0, "run")
    broken = FaultyStore(tenure.store, at=1, error=ExchangeError)
    with pytest.raises(ExchangeError) as caught:
        type(tenure)(broken, "student", 0, "run", 1, tenure.token).require()
    assert not isinstance(caught.value, StaleRun)
    assert not type(tenure)(flaky(tenure.store, 1), "student", 0, "run", 1, tenure.token).over


@pytest.mark.parametrize(
    ("orders", "left"),
    [
        ({}, []),
        ({10: 1, 20: 1, 30: 1}, [10, 20, 30]),
        ({60: 1, 80: 1, 100: 1, 90: 2}, [60, 80, 90]),  # 100 was left by a zombie
        ({60: 1, 100: 1, 120: 2, 40: 3}, [40]),
        ({60: 1, 80: 2, 100: 3}, [60, 80, 100]),
        ({10: (1, 1), 20: (1, 2), 30: (1, 3), 15: (1, 4)}, [10, 15]),
    ],
)
def test_what_somebody_went_on_from_and_what_was_left_behind(orders, left):
    assert surviving(orders) == left
