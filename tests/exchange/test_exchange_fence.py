"""The handshake, the incarnation and the stop flag."""

import json
import threading

import pytest

from tests.fakes_store import LaggingStore
from tsal_dist.errors import PeerLost, StaleRun
from tsal_dist.exchange.beat import Heart, list_crews
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.posix import PosixStore

TEACHER, STUDENT = ("teacher", 0), ("student", 0)


def test_two_roles_meet(tmp_path):
    store = PosixStore(tmp_path, create=True)
    met = []

    def side(me, peer):
        Handshake(store, *me, "run").meet([peer], timeout_s=10, poll_s=0.01)
        met.append(me)

    thread = threading.Thread(target=side, args=(TEACHER, STUDENT))
    thread.start()
    side(STUDENT, TEACHER)
    # The first to have met must go on answering until the other has seen it, as a loop does with every beat.
    thread.join()
    assert sorted(met) == [STUDENT, TEACHER]


def test_a_hello_of_an_earlier_attempt_does_not_count():
    store = MemoryStore()
    early_teacher, early_student = Handshake(store, *TEACHER, "run"), Handshake(store, *STUDENT, "run")
    early_teacher.answer([STUDENT])
    early_student.answer([TEACHER])
    assert early_teacher.answer([STUDENT]) == {}
    again = Handshake(store, *TEACHER, "run")  # a new process finds the old hello of the student
    assert TEACHER not in again.answer([STUDENT])
    assert STUDENT in again.answer([STUDENT])
    early_student.answer([TEACHER])
    assert again.answer([STUDENT]) == {}


def test_a_silent_peer_is_an_error_with_both_paths(tmp_path):
    here, there = PosixStore(tmp_path / "a", create=True), PosixStore(tmp_path / "b", create=True)
    Handshake(there, *TEACHER, "run")
    now = iter(range(100))
    with pytest.raises(PeerLost, match=rf"{tmp_path / 'a'}.*it has written nothing there"):
        Handshake(here, *STUDENT, "run", clock=lambda: float(next(now)), sleep=lambda _: None).meet(
            [TEACHER], timeout_s=5, poll_s=1
        )


def test_crews_are_found_by_their_heartbeats_and_one_of_them_is_enough():
    store = MemoryStore()
    student = Handshake(store, *STUDENT, "run")
    assert list_crews(store, "teacher") == []
    for role, rank in (("teacher-night", 0), ("teacher-night", 1), ("teacher-b2", 0), ("teacherly", 0)):
        Heart(store, role, rank, 1).beat("start", 0)
    assert list_crews(store, "teacher") == [("teacher-b2", 0), ("teacher-night", 0)]
    night = Handshake(store, "teacher-night", 0, "run")

    def pause(_):
        night.answer([STUDENT])

    patient = Handshake(store, *STUDENT, "run", sleep=pause)
    assert patient.meet([TEACHER], timeout_s=5, poll_s=0, in_place=lambda: list_crews(store, "teacher"))
    assert student.answer([TEACHER]), "the first crew never came"


def test_a_peer_that_does_not_answer_is_named_with_its_path():
    store = MemoryStore()
    Handshake(store, *TEACHER, "run")
    now = iter(range(100))
    waited = []
    with pytest.raises(
        PeerLost, match=r"it was there once, as .*memory:/.* It has ended, or takes longer to start"
    ):
        Handshake(store, *STUDENT, "run", clock=lambda: float(next(now)), sleep=lambda _: None).meet(
            [TEACHER], timeout_s=3, poll_s=1, give_up=lambda: bool(waited.append(1))
        )
    assert waited


def test_a_peer_that_was_never_there_may_look_at_another_folder():
    now = iter(range(100))
    alone = Handshake(MemoryStore(), *STUDENT, "run", clock=lambda: float(next(now)), sleep=lambda _: None)
    with pytest.raises(PeerLost, match=r"it has written nothing there\. Both must be the same directory"):
        alone.meet([TEACHER], timeout_s=3, poll_s=1)


def test_who_is_told_to_stop_waits_no_longer():
    alone = Handshake(MemoryStore(), *STUDENT, "run", sleep=lambda _: None)
    asked = iter([False, False, True])
    assert alone.meet([TEACHER], timeout_s=60, poll_s=1, give_up=lambda: next(asked)) is False


def test_another_run_is_refused():
    store = MemoryStore()
    Handshake(store, *TEACHER, "other")
    with pytest.raises(StaleRun, match="belongs to run other"):
        Handshake(store, *STUDENT, "mine").answer([TEACHER])


def test_a_peer_is_never_looked_up_before_it_exists():
    """On NFS an absent name that was asked for stays absent for up to a minute."""
    store = MemoryStore()
    mine = LaggingStore(store)
    now = iter(range(100))
    late = []

    def arrive(_):
        late.append(1)
        if len(late) == 3:
            late[0] = Handshake(store, *TEACHER, "run")
        if len(late) > 3:
            late[0].answer([STUDENT])

    student = Handshake(mine, *STUDENT, "run", clock=lambda: float(next(now)), sleep=arrive)
    student.meet([TEACHER], timeout_s=50, poll_s=1)
    assert json.loads(store.get("ctl/hello/student-0.json"))["seen"]


@pytest.mark.parametrize("text", ["[]", "{", '{"nonce": 5}', "\xff", '{"nonce": "a", "run_id": "run"}'])
def test_a_damaged_hello_is_waited_out(text, caplog):
    """One flipped bit in a file of ctl/ must not end a run."""
    store = MemoryStore()
    student = Handshake(store, *STUDENT, "run")
    Handshake(store, *TEACHER, "run")
    store.replace("ctl/hello/teacher-0.json", text.encode("latin-1"))
    assert student.answer([TEACHER]) == {TEACHER: ""}
    assert student.answer([TEACHER]) == {TEACHER: ""}
    assert caplog.text.count("is no hello") == 1
    Handshake(store, *TEACHER, "run").answer([STUDENT])
    assert student.answer([TEACHER]) == {}
    store.replace("ctl/hello/teacher-0.json", text.encode("latin-1"))
    assert student.answer([TEACHER]) == {TEACHER: ""}
    assert caplog.text.count("is no hello") == 2, "another time is news again"


def test_no_flipped_bit_of_a_hello_makes_a_peer_another_run_s_or_of_other_shards():
    store, shards = MemoryStore(), {"unlabelled": "abc", "validation": "def"}
    student = Handshake(store, *STUDENT, "run", shards=shards)
    Handshake(store, *TEACHER, "run", shards=shards)
    hello = store.get("ctl/hello/teacher-0.json")
    for bit in range(8 * len(hello)):
        damaged = bytearray(hello)
        damaged[bit // 8] ^= 1 << bit % 8
        store.replace("ctl/hello/teacher-0.json", bytes(damaged))
        assert set(student.answer([TEACHER])) == {TEACHER}
    store.replace("ctl/hello/teacher-0.json", hello)
    Handshake(store, *TEACHER, "run", shards=shards).answer([STUDENT])
    assert student.answer([TEACHER]) == {}


def test_a_damaged_reason_still_ends_the_run():
    store = MemoryStore()
    RunEnd(store)
    store.replace("ctl/stop", b"the end \xff")
    assert RunEnd(store).reason().startswith("the end")


def test_the_stop_flag():
    store = MemoryStore()
    reader, writer = RunEnd(store), RunEnd(store)
    assert reader.reason() == ""
    writer.announce("finished 100 steps")
    assert reader.reason() == "finished 100 steps"
    assert RunEnd(store).reason() == "finished 100 steps"
