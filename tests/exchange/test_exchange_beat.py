"""Heartbeats are judged by change on the reader's clock."""

import pytest

from tsal_dist.errors import PeerLost
from tsal_dist.exchange.beat import Heart, Watch, beat_every_s
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.run_dir import DONE

PEER = ("teacher", 0)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def scene():
    store, clock = MemoryStore(), Clock()
    return Heart(store, *PEER, incarnation=3, host="node7"), Watch(store, [PEER], 10, clock), clock


def test_a_beating_peer_is_alive(scene):
    heart, watch, clock = scene
    for step in range(5):
        heart.beat("train", step)
        watch.look()
        clock.now += 9
        assert watch.lost() == []
    pulse = watch.look()[PEER]
    assert (pulse.incarnation, pulse.seq, pulse.phase, pulse.step, pulse.silent_s) == (3, 5, "train", 4, 9)


def test_a_beat_says_what_its_process_holds():
    store = MemoryStore()
    Heart(store, *PEER, incarnation=3, measure=lambda: {"memory/rss_gb": 1.5}).beat("train", 1)
    assert Watch(store, [PEER], 10).look()[PEER].memory == {"memory/rss_gb": 1.5}


def test_a_peer_that_repeats_itself_is_lost(scene):
    heart, watch, clock = scene
    heart.beat("train", 7)
    watch.look()
    clock.now += 10.5
    assert watch.lost() == [PEER]
    with pytest.raises(
        PeerLost, match=r"teacher 0 has been silent for 10 s.*node7 in phase 'train' at step 7"
    ):
        watch.require(PEER)


def test_a_peer_that_never_came_is_lost_after_the_deadline(scene):
    _, watch, clock = scene
    watch.require(PEER)
    clock.now += 11
    with pytest.raises(PeerLost, match="never seen"):
        watch.require(PEER)


def test_a_peer_that_said_goodbye_is_not_lost(scene):
    heart, watch, clock = scene
    heart.beat(DONE, 9)
    watch.look()
    clock.now += 1000
    watch.require(PEER)
    assert watch.lost() == []


def test_a_successor_counts_as_a_change(scene):
    heart, watch, clock = scene
    heart.beat("train", 7)
    watch.look()
    clock.now += 11
    Heart(watch._store, *PEER, incarnation=4).beat("train", 7)
    assert watch.lost() == []


@pytest.mark.parametrize("raw", [b"{", b"[]", b"5", b'{"seq": 1}', b"\xff", b"[" * 9000])
def test_what_is_no_heartbeat_is_no_sign_of_life(raw, caplog):
    store = MemoryStore()
    watch = Watch(store, [("teacher", 0)], silent_s=5)
    store.replace("ctl/beat/teacher-0.json", raw)
    assert watch.look() == {("teacher", 0): None}
    assert "teacher 0 is no heartbeat" in caplog.text


@pytest.mark.parametrize(
    ("rank", "silent_s", "every_s"),
    [(0, 60.0, 1.0), (1, 60.0, 10.0), (7, 600.0, 10.0), (1, 12.0, 2.0), (0, 3.0, 0.5)],
)
def test_ranks_that_nobody_waits_for_beat_seldom_and_none_too_seldom(rank, silent_s, every_s):
    assert beat_every_s(rank, 1.0, silent_s) == every_s
