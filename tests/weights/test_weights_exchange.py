"""Publisher and reader: newest first or all in order, late readers, a slow disk, a full one."""

import threading

import pytest
import torch

from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.weights import fetch, publish
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.format import save_version, version_folder
from tsal_dist.weights.publish import WeightPublisher


def weights(step):
    return {"weight": torch.full((2,), float(step))}


def test_versions_arrive_in_order_and_old_ones_go(tmp_path):
    reader = WeightReader(tmp_path)
    assert (reader.fetch(10), reader.versions_since(0)) == (None, [])
    with WeightPublisher(tmp_path, "tsal", keep=3) as publisher:
        for step in (10, 20, 30, 40):
            publisher.offer(step, weights(step))
            publisher.flush(10)
        assert (publisher.published, publisher.superseded) == (4, 0)
    assert reader.versions_since(0) == [20, 30, 40]
    assert reader.versions_since(30) == [40]
    assert reader.fetch(40).tensors["weight"].tolist() == [40.0, 40.0]
    assert reader.fetch(20).version.step == 20
    assert reader.fetch(10) is None


def test_training_never_waits_for_a_slow_disk(tmp_path, monkeypatch):
    """While one version is written, of those that come only the newest is kept, and the others are counted."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        assert go_on.wait(10)
        return save_version(*args)

    monkeypatch.setattr(publish, "save_version", slow)
    with WeightPublisher(tmp_path, "tsal", keep=9) as publisher:
        publisher.offer(1, weights(1))
        assert begun.wait(10)
        for step in (2, 3, 4):
            publisher.offer(step, weights(step))
        with pytest.raises(ExchangeError, match=r"after 0.05 s"):
            publisher.flush(0.05)
        go_on.set()
    assert (publisher.published, publisher.superseded) == (2, 2)
    assert WeightReader(tmp_path).versions_since(0) == [1, 4]


def test_a_full_disk_costs_a_version_and_not_the_run(tmp_path, monkeypatch, caplog):
    def full(folder, step, *rest):
        (folder / f".v{step:08d}.tmp").mkdir()
        raise OSError(28, "No space left on device")

    with WeightPublisher(tmp_path, "tsal", keep=2) as publisher:
        with monkeypatch.context() as patch:
            patch.setattr(publish, "save_version", full)
            publisher.offer(1, weights(1))
            with pytest.raises(ExchangeError, match="No space left"):
                publisher.flush(10)
        assert list(tmp_path.iterdir()) == []
        assert "could not publish the weights of step 1" in caplog.text
        publisher.offer(2, weights(2))
        publisher.flush(10)
    assert (publisher.published, publisher.failed) == (1, 1)


def test_a_folder_is_made_when_there_is_room(tmp_path, monkeypatch):
    full = [True, False]

    def make(folder, really=publish.make_folder):
        if full.pop(0):
            raise OSError(28, "No space left on device")
        really(folder)

    monkeypatch.setattr(publish, "make_folder", make)
    limits = DeadlinesConfig(poll_s=0.01)
    with WeightPublisher(tmp_path / "weights", "tsal", keep=2, limits=limits) as publisher:
        publish_all(publisher, 1)
    assert WeightReader(tmp_path / "weights").versions_since(0) == [1]


def test_a_restart_removes_the_history_that_did_not_happen(tmp_path):
    for step in (10, 20, 30):
        save_version(tmp_path, step, weights(step), "tsal")
    with WeightPublisher(tmp_path, "tsal", keep=9) as publisher:
        publisher.forget_after(15)
        reader = WeightReader(tmp_path)
        assert reader.versions_since(0) == [10]
        publisher.forget_after(0)
        assert reader.versions_since(0) == []


def publish_all(publisher, *steps):
    for step in steps:
        publisher.offer(step, weights(step))
        publisher.flush(10)


def test_a_zombies_versions_are_told_from_its_successors(tmp_path):
    """Whatever it had published, and whatever it still publishes: the teacher follows the history that goes on."""
    run = PosixStore(tmp_path / "run", create=True)
    folder = tmp_path / "weights"
    reader = WeightReader(folder)
    old = begin_tenure(run, "student", 0, "id")
    with WeightPublisher(folder, "tsal", keep=9, tenure=old) as zombie:
        publish_all(zombie, 60)
        zombie._require_current = lambda: None  # stopped right after it had asked
        with WeightPublisher(
            folder, "tsal", keep=9, tenure=begin_tenure(run, "student", 0, "id")
        ) as successor:
            successor.forget_after(60)
            publish_all(zombie, 100)
            assert reader.versions_since(0) == [60, 100], "nobody can know better yet"
            publish_all(successor, 80, 90)
            publish_all(zombie, 120)
            assert reader.versions_since(0) == [60, 80, 90]
            publish_all(zombie, 80)  # the same step, with other weights
            assert reader.fetch(80).tensors["weight"].tolist() == [80.0, 80.0]
            publish_all(successor, 130)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["v00000060-000001", "v00000080-000002", "v00000090-000002", "v00000130-000002"]


def test_who_has_been_succeeded_publishes_and_removes_nothing(tmp_path, caplog):
    run = PosixStore(tmp_path / "run", create=True)
    folder = tmp_path / "weights"
    old = begin_tenure(run, "student", 0, "id")
    with WeightPublisher(folder, "tsal", keep=2, tenure=old) as zombie:
        publish_all(zombie, 10, 20)
        begin_tenure(run, "student", 0, "id")
        with pytest.raises(ExchangeError, match="must end"):
            publish_all(zombie, 30)
        with pytest.raises(StaleRun):
            zombie.forget_after(0)
        assert "could not publish the weights of step 30" in caplog.text
        assert WeightReader(folder).versions_since(0) == [10, 20]
        with pytest.raises(ExchangeError):
            zombie.flush(1)
        zombie._failure = None


def test_a_version_that_cannot_be_removed_costs_only_room(tmp_path, monkeypatch, caplog):
    def refuse(place, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError(13, "read-only")

    with WeightPublisher(tmp_path, "tsal", keep=1) as publisher:
        publish_all(publisher, 10)
        with monkeypatch.context() as patch:
            patch.setattr(publish.shutil, "rmtree", refuse)
            publish_all(publisher, 20)
        assert "cannot be removed" in caplog.text
        assert WeightReader(tmp_path).versions_since(10) == [20]
        publish_all(publisher, 30)
    assert WeightReader(tmp_path).versions_since(0) == [30]


def test_a_folder_that_cannot_be_listed_for_a_moment_costs_only_room(tmp_path, monkeypatch, caplog):
    """The version is published by then, and further ones are to be."""

    def refuse(*about):
        raise ExchangeError("Cannot list: the disk or the network behind it failed.")

    with WeightPublisher(tmp_path, "tsal", keep=1) as publisher:
        with monkeypatch.context() as patch:
            patch.setattr(publish, "outlived", refuse)
            publish_all(publisher, 10)
        assert "old versions stay" in caplog.text
        publish_all(publisher, 20)
    assert WeightReader(tmp_path).versions_since(0) == [20]
    assert (publisher.published, publisher.failed) == (2, 0)


def test_a_version_that_is_listed_and_cannot_be_read_ends_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_PAUSE_S", 0.001)
    version_folder(tmp_path, 3).mkdir()
    with pytest.raises(ExchangeError, match="Version 3 is listed"):
        WeightReader(tmp_path).fetch(3)


def test_readers_beside_a_busy_writer_see_whole_versions(tmp_path):
    """Read as fast as possible while versions are replaced and collected: never a torn or mixed one."""
    stop, seen, problems = threading.Event(), [], []

    def read():
        reader = WeightReader(tmp_path)
        while not stop.is_set():
            try:
                newest = reader.versions_since(0)[-1:]
                fetched = reader.fetch(newest[0]) if newest else None
            except ExchangeError as error:
                problems.append(error)
                return
            if fetched is not None:
                seen.append(fetched.version.step)
                if fetched.tensors["weight"].tolist() != [fetched.version.step] * 2:
                    problems.append(fetched)

    thread = threading.Thread(target=read)
    thread.start()
    with WeightPublisher(tmp_path, "tsal", keep=2) as publisher:
        for step in range(1, 60):
            publisher.offer(step, weights(step))
            publisher.flush(10)
    stop.set()
    thread.join(10)
    assert not problems
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
