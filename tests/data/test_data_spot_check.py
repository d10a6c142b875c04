"""Local tars are held against their manifest while a run reads them: slowly, all of them, and not for ever."""

import hashlib
import random
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from tests.roles.manual_clock import ManualClock
from tsal_dist.clock import MonotonicClock
from tsal_dist.data.shard_set import LocalTar, open_shards
from tsal_dist.data.spot_check import PIECE_BYTES, ROUND_S, SpotCheck
from tsal_dist.errors import DataError

MB_PER_S = 0.001
"""A piece rests for a quarter of an hour."""


@pytest.fixture
def folder(shards_url, tmp_path):
    """A copy of three shards, to be spoilt."""
    return Path(shutil.copytree(shards_url, tmp_path / "shards"))


@pytest.fixture
def clock():
    return ManualClock()


def tars_of(folder):
    return sorted(folder.glob("*.tar"))


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def rounds(check, clock, most=1):
    """Go round so many times, or until something is found; the seconds that each round took, rest included."""
    took, began = [], clock.now_s()
    for rest_s in check.turns():
        clock.sleep(rest_s)
        if rest_s > ROUND_S / 2:
            took.append(clock.now_s() - began)
            began = clock.now_s()
            if len(took) == most:
                break
    return took


@pytest.mark.parametrize("shard", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 700, -2000, -1], ids=["a header", "a picture", "near the end", "padding"])
def test_a_flipped_bit_anywhere_is_found_and_said_in_a_sentence(folder, clock, shard, at):
    flip(tars_of(folder)[shard], at)
    check = SpotCheck([open_shards([str(folder)])], MB_PER_S, clock)
    check.require()
    assert not rounds(check, clock), "it ends there"
    with pytest.raises(DataError) as error:
        check.require()
    words = str(error.value)
    assert f"{tars_of(folder)[shard]} has the digest" in words
    assert "its manifest says" in words
    assert "pack the shards again" in words
    assert "\n" not in words


@pytest.mark.parametrize("size", [-512, 512])
def test_a_tar_that_is_shorter_or_longer_is_found(folder, clock, size):
    tar = tars_of(folder)[1]
    data = tar.read_bytes()
    tar.write_bytes(data[:size] if size < 0 else data + bytes(size))
    check = SpotCheck([open_shards([str(folder)])], MB_PER_S, clock)
    rounds(check, clock)
    with pytest.raises(DataError, match="has the digest"):
        check.require()


def test_what_is_whole_is_said_to_be_once_a_day(folder, clock, caplog):
    caplog.set_level("INFO")
    check = SpotCheck([open_shards([str(folder)])], MB_PER_S, clock)
    assert rounds(check, clock, most=3) == pytest.approx([ROUND_S] * 3)
    check.require()
    assert caplog.text.count("3 tars (0.00 GB) were compared with their manifests in ") == 3


def test_it_reads_no_faster_than_it_may(tmp_path, clock):
    """And in pieces: between two of them a run that ends has not long to wait."""
    tar = tmp_path / "large.tar"
    tar.write_bytes(bytes(10 * PIECE_BYTES + 5))
    large = LocalTar(tar, str(tar), tar.stat().st_size, hashlib.sha256(tar.read_bytes()).hexdigest())
    turns = SpotCheck([SimpleNamespace(local_tars=lambda: [large])], 4.0, clock).turns()
    assert [next(turns) for _ in range(11)] == pytest.approx([PIECE_BYTES / 4e6] * 11)
    assert next(turns) == pytest.approx(ROUND_S), "and then it rests"


def test_attempts_begin_at_different_tars(folder, clock, monkeypatch):
    """Those that are too short for a round come to look at all of them."""
    shards = open_shards([str(folder)])
    firsts = set()
    for attempt in range(30):
        seen = []
        check = SpotCheck([shards], MB_PER_S, clock, random.Random(attempt))
        monkeypatch.setattr(check, "_compare", lambda tar, seen=seen: iter([seen.append(tar.url) or 1.0]))
        next(check.turns())
        firsts.update(seen)
    assert len(firsts) == 3


def test_a_tar_of_two_sets_is_read_once(folder, clock, caplog):
    caplog.set_level("INFO")
    shards = open_shards([str(folder)])
    rounds(SpotCheck([shards, shards, open_shards([str(folder)])], MB_PER_S, clock), clock)
    assert "3 tars (" in caplog.text


def test_a_tar_that_cannot_be_read_is_said_and_the_others_are_compared(folder, clock, caplog):
    """A network that is away for a moment ends no run; nor does it hide what differs elsewhere."""
    caplog.set_level("INFO")
    check = SpotCheck([open_shards([str(folder)])], MB_PER_S, clock)
    tars_of(folder)[0].rename(folder / "away")
    rounds(check, clock)
    check.require()
    assert "1 of 3 tars were not compared with their manifests, as they cannot be read: " in caplog.text
    assert "2 tars (" in caplog.text
    flip(tars_of(folder)[1], 900)
    rounds(check, clock)
    with pytest.raises(DataError, match="has the digest"):
        check.require()


def test_shards_of_an_object_store_and_a_rate_of_nothing_are_left_alone(folder, clock):
    store = fsspec.filesystem("memory")
    for path in folder.iterdir():
        store.pipe(f"/spot/{path.name}", path.read_bytes())
    remote = open_shards(["memory://spot"])
    for check in (SpotCheck([remote], MB_PER_S, clock), SpotCheck([open_shards([str(folder)])], 0, clock)):
        with check:
            assert not list(check.turns())
            assert not living()


def living():
    return [thread for thread in threading.enumerate() if thread.name == "spot-check"]


def test_it_stops_with_its_run_however_long_it_rests(folder):
    with SpotCheck([open_shards([str(folder)])], MB_PER_S, MonotonicClock()):
        (thread,) = living()
    assert not thread.is_alive()


def test_its_thread_finds_what_differs(folder):
    flip(tars_of(folder)[2], 700)
    with SpotCheck([open_shards([str(folder)])], 1e6, MonotonicClock()) as check:
        for thread in living():  # it ends by itself where it has found something, and may have already
            thread.join(60)
        with pytest.raises(DataError, match="has the digest"):
            check.require()
