"""Shards of an object store, through a bounded folder."""

import hashlib
import os
import threading
from pathlib import Path

import fsspec
import pytest

from tsal_dist.data.cache import STALE_S, ShardCache
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import open_shards
from tsal_dist.data.stream import ClipStream
from tsal_dist.errors import ConfigError, DataError


def put(name, data):
    with fsspec.open(f"memory://cache-test/{name}", "wb") as file:
        file.write(data)
    return f"memory://cache-test/{name}", hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_a_file_is_fetched_once(folder):
    url, digest = put("a.tar", b"a" * 1000)
    cache = ShardCache(folder, 10_000)
    place = cache.fetch(url, digest)
    assert place.read_bytes() == b"a" * 1000
    put("a.tar", b"b" * 1000)  # whoever fetches again would see this
    assert cache.fetch(url, digest) == place
    assert ShardCache(folder, 10_000).fetch(url, digest).read_bytes() == b"a" * 1000


def test_its_content_is_on_disk_before_it_has_its_name(folder, monkeypatch):
    """Else a power cut leaves a file of its digest's name, full of zeros, and nobody reads it again to see."""
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("content"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("name"), replace(*names)))
    ShardCache(folder, 10_000).fetch(*put("d.tar", b"d" * 1000))
    assert done == ["content", "name"]


def test_what_has_the_wrong_digest_is_never_seen(folder):
    url, digest = put("b.tar", b"damaged")
    with pytest.raises(DataError, match=r"fetched 3 times and never had the digest"):
        ShardCache(folder, 100).fetch(url, "0" * 64)
    assert list(folder.iterdir()) == []
    with pytest.raises(DataError, match="does not exist, but its manifest names it"):
        ShardCache(folder, 100).fetch("memory://cache-test/none.tar", digest)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "cache"])
def test_a_folder_that_cannot_be_is_named_with_its_setting(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"shard cache .*file.*data\.cache_dir"):
        ShardCache(tmp_path / "file" / below, 100).fetch(*put("e.tar", b"e"))


def test_the_folder_stays_within_its_bound_and_keeps_what_was_used_last(folder):
    files = [put(f"{n}.tar", bytes([n]) * 1000) for n in range(5)]
    cache = ShardCache(folder, 3000)
    for age, file in enumerate(files[:3]):
        os.utime(cache.fetch(*file), (age + 1, age + 1))
    os.utime(cache.fetch(*files[0]), (50, 50))
    cache.fetch(*files[3])
    held = {path.stem for path in folder.iterdir()}
    assert held == {files[n][1] for n in (0, 2, 3)}


def test_a_reader_keeps_the_file_that_is_evicted_under_it(folder):
    first, second = put("x.tar", b"x" * 800), put("y.tar", b"y" * 800)
    cache = ShardCache(folder, 1000)
    with open(cache.fetch(*first), "rb") as file:
        cache.fetch(*second)
        assert len(list(folder.iterdir())) == 1
        assert file.read() == b"x" * 800


def test_left_over_fetches_of_dead_processes_go(folder):
    folder.mkdir()
    old, young = folder / ".old.tmp", folder / ".young.tmp"
    for path in (old, young):
        path.write_bytes(b"?")
    long_ago = os.stat(young).st_mtime - STALE_S - 10
    os.utime(old, (long_ago, long_ago))
    ShardCache(folder, 1000).fetch(*put("z.tar", b"z"))
    assert not old.exists()
    assert young.exists()


def test_many_at_once_need_no_lock(folder, tmp_path):
    files = []
    for n in range(6):  # not in memory://, whose readers of one file share their place in it
        place, content = tmp_path / f"many{n}.tar", bytes([n]) * 2000
        place.write_bytes(content)
        files.append((place.as_uri(), hashlib.sha256(content).hexdigest()))
    errors = []

    def work(seed):
        try:
            cache = ShardCache(folder, 9000)
            for n in range(40):
                url, digest = files[(seed * 7 + n * 5) % 6]
                with open(cache.fetch(url, digest), "rb") as file:
                    assert hashlib.sha256(file.read()).hexdigest() == digest
        except FileNotFoundError:
            pass  # evicted between fetch and open: the reader asks again
        except (DataError, OSError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors


@pytest.fixture
def remote(shards_url):
    """The shards of the local folder, in memory:// as an object store."""
    for path in Path(shards_url).iterdir():
        with fsspec.open(f"memory://remote/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    return "memory://remote"


def batches(url, cache_dir, cache_gb=1.0, workers=0, **words):
    shards = open_shards([url], str(cache_dir), cache_gb)
    return ClipStream(
        shards,
        ViewSettings(crop_px=16),
        select="all",
        batch=4,
        rank=0,
        world=1,
        seed=0,
        epochs=2,
        read_ahead=ReadAhead(workers=workers),
        **words,
    )


def test_a_remote_stream_gives_what_the_local_one_gives(remote, shards_url, folder):
    with batches(remote, folder, window=1) as far, batches(shards_url, folder, window=1) as near:
        for one, two in zip(far, near, strict=True):
            assert [clip.sample_id for clip in one] == [clip.sample_id for clip in two]
            assert all((a.image_THWC == b.image_THWC).all() for a, b in zip(one, two, strict=True))
    assert len(list(folder.iterdir())) == 9


def test_workers_find_remote_shards_in_the_cache(remote, shards_url, folder):
    """memory:// is empty in another process: a worker that had to fetch by itself would fail."""
    with batches(remote, folder, workers=2, window=1) as far, batches(shards_url, folder, window=1) as near:
        for one, two in zip(far, near, strict=True):
            assert [clip.sample_id for clip in one] == [clip.sample_id for clip in two]
        assert not far.bad


def test_a_cache_smaller_than_what_is_read_together_is_refused(remote, folder):
    with pytest.raises(ConfigError, match=r"Raise data\.cache_gb"):
        batches(remote, folder, cache_gb=1e-5)
