"""A run directory is made once, refused to strangers, and taken up again only by the same config."""

import errno
import json
import multiprocessing
import os
import threading
import time

import pytest

from tests.heart import beating
from tsal_dist import run as run_module
from tsal_dist import run_dir as run_dir_module
from tsal_dist.config import load_config
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import AskedToLeave, ConfigError, ExchangeError
from tsal_dist.exchange.beat import Heart
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.run import Origin, differences, load_run, open_run


def config(folder, *overrides):
    return load_config([], [f"run.dir={folder}", *overrides])


def test_a_new_run_writes_down_what_it_is(tmp_path):
    run = open_run(config(tmp_path / "r", "train.steps=3000"), "new")
    assert not run.resumed
    again = load_run(tmp_path / "r")
    assert (again.id, again.config.train.steps) == (run.id, 3000)


def test_a_file_is_no_run(tmp_path):
    """Such as an exported one: nobody is told to remove it."""
    exported = tmp_path / "mine.safetensors"
    exported.touch()
    with pytest.raises(ConfigError, match=r"mine\.safetensors is a file, and a run is a folder"):
        load_run(exported)


def test_an_existing_run_needs_a_decision(tmp_path):
    open_run(config(tmp_path), "new")
    with pytest.raises(ConfigError, match=r"--resume.*--clean.*run\.dir"):
        open_run(config(tmp_path), "new")


def test_a_detached_run_is_replaced_by_what_can_replace_it(tmp_path):
    """Training itself refuses --clean there."""
    words = ("runtime.topology=detached", "runtime.role=student")
    open_run(config(tmp_path, *words), "new")
    with pytest.raises(ConfigError, match=r"replace it \(--clean of launch\.local or launch\.submit slurm\)"):
        open_run(config(tmp_path, *words), "new")
    with pytest.raises(ConfigError, match=r"again with --clean of launch\.local or launch\.submit"):
        open_run(config(tmp_path, *words, "train.seed=5"), "resume")


def test_resuming_keeps_the_id_and_cleaning_changes_it(tmp_path):
    first = open_run(config(tmp_path), "new")
    (tmp_path / "weights").mkdir()
    resumed = open_run(config(tmp_path), "resume")
    assert (resumed.id, resumed.resumed) == (first.id, True)
    clean = open_run(config(tmp_path), "clean")
    assert clean.id != first.id
    assert not (tmp_path / "weights").exists()


def test_resuming_nothing_is_a_new_run(tmp_path):
    """A requeued job may come back before its first start had written anything."""
    assert not open_run(config(tmp_path / "r"), "resume").resumed


@pytest.mark.parametrize("origin", [7, {}, {"run": "a", "id": "b", "step": "4"}, {"run": "a", "id": "b"}])
def test_an_origin_that_is_none_is_damage(tmp_path, origin):
    open_run(config(tmp_path), "new")
    written = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(written | {"origin": origin}))
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        load_run(tmp_path)


def test_only_a_new_run_asks_where_it_begins(tmp_path):
    begun = Origin("runs/a", "id", 4)
    assert open_run(config(tmp_path / "r"), "resume", lambda: begun).origin == begun
    assert open_run(config(tmp_path / "r"), "resume", lambda: pytest.fail("asked again")).origin == begun
    assert load_run(tmp_path / "r").origin == begun


def test_another_config_is_refused_by_key_and_values(tmp_path):
    open_run(config(tmp_path), "new")
    with pytest.raises(ConfigError, match=r"train\.optim\.lr = 0\.001, and now it is 0\.5"):
        open_run(config(tmp_path, "train.optim.lr=0.5"), "resume")


@pytest.mark.parametrize(
    "override",
    [
        "runtime.topology=inline",
        "data.workers=0",
        "data.beyond_points=0.4",
        "runtime.log.every=7",
        "runtime.deadlines.silent_s=9",
    ],
)
def test_how_a_run_is_spread_and_watched_may_change(tmp_path, override):
    open_run(config(tmp_path), "new")
    assert open_run(config(tmp_path, override), "resume").resumed


def test_a_setting_that_was_added_since_is_no_difference(tmp_path):
    """Its default is what the run has had all along."""
    open_run(config(tmp_path), "new")
    written = json.loads((tmp_path / "run.json").read_text())
    del written["config"]["train"]["priority"]
    (tmp_path / "run.json").write_text(json.dumps(written))
    assert open_run(config(tmp_path), "resume").resumed
    with pytest.raises(ConfigError, match=r"train\.priority = 0\.0, and now it is 0\.5"):
        open_run(config(tmp_path, "train.priority=0.5"), "resume")


@pytest.mark.parametrize("mode", ["new", "resume", "clean"])
def test_a_folder_of_something_else_is_not_touched(tmp_path, mode):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"run\.dir"):
        open_run(config(tmp_path), mode)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_damaged_run_json_is_named(tmp_path):
    open_run(config(tmp_path), "new")
    (tmp_path / "run.json").write_text('{"id": ')
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        open_run(config(tmp_path), "resume")


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        load_run(tmp_path)


def _open(folder, barrier, ids):
    barrier.wait(timeout=60)
    ids.put(open_run(config(folder), "resume").id)


def test_processes_that_start_together_agree_on_one_run(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, ids = spawn.Barrier(4), spawn.Queue()
    crew = [spawn.Process(target=_open, args=(tmp_path, barrier, ids)) for _ in range(4)]
    for process in crew:
        process.start()
    found = {ids.get(timeout=60) for _ in crew}
    for process in crew:
        process.join(60)
    assert found == {json.loads((tmp_path / "run.json").read_text())["id"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


@pytest.mark.parametrize("name", ["labels.csv", "more.CSV"])
def test_a_run_with_labels_made_by_hand_is_not_removed(tmp_path, name):
    """`tsal label RUN` fills a table in there, which nobody can compute again."""
    first = open_run(config(tmp_path / "run"), "new")
    table = tmp_path / "run" / "label" / name
    table.parent.mkdir()
    (table.parent / "suggested.json").write_text("{}")
    table.write_text("an afternoon")
    with pytest.raises(
        ConfigError, match=rf"--clean: .*{name} holds labels .*\. Move the table first, .*labels\.csv, or"
    ):
        open_run(config(tmp_path / "run"), "clean")
    assert (load_run(tmp_path / "run").id, table.read_text()) == (first.id, "an afternoon")
    table.rename(tmp_path / "labels.csv")
    assert open_run(config(tmp_path / "run"), "clean").id != first.id, "suggestions are the run's own"
    assert (tmp_path / "labels.csv").read_text() == "an afternoon"


def test_a_run_that_somebody_works_on_is_not_removed(tmp_path, monkeypatch):
    """Two students with one incarnation would come of it."""
    folder = tmp_path / "run"
    first = open_run(config(folder), "new")
    with (
        beating(folder, "student"),
        pytest.raises(ConfigError, match=r"--clean: student-0 is at work .* its heartbeat goes on"),
    ):
        open_run(config(folder), "clean")
    assert load_run(folder).id == first.id
    monkeypatch.setattr(run_module, "WATCHED_S", 0.3)
    quick = config(folder, "runtime.deadlines.beat_s=0.1")
    assert open_run(quick, "clean").id != first.id, "what has been killed may be removed"


def test_who_is_asked_to_leave_while_it_watches_removes_nothing(tmp_path):
    folder, stop = tmp_path / "run", StopFlag()
    first = open_run(config(folder), "new")
    Heart(PosixStore(folder), "student", 0, 1).beat("train", 3)
    threading.Timer(0.3, stop.request, ["SIGINT"]).start()
    with pytest.raises(AskedToLeave, match="SIGINT before training"):
        open_run(config(folder), "clean", leave_if_asked=stop.leave_if_asked)
    assert load_run(folder).id == first.id


def test_a_run_that_said_goodbye_is_removed_at_once(tmp_path):
    folder = tmp_path / "run"
    first = open_run(config(folder), "new")
    Heart(PosixStore(folder), "student", 0, 1).beat("done", 9)
    (folder / "ctl" / "beat" / "teacher-0.json").write_text("{")
    since = time.monotonic()
    assert open_run(config(folder), "clean").id != first.id
    assert time.monotonic() - since < run_module.WATCHED_S


@pytest.mark.parametrize("mode", ["new", "resume", "clean"])
def test_a_place_that_is_no_folder_is_named(tmp_path, mode):
    (tmp_path / "file").write_text("thesis")
    with pytest.raises(ConfigError, match="is a file. A run needs a folder"):
        open_run(config(tmp_path / "file"), mode)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="is a link to .*gone, which does not exist"):
        open_run(config(tmp_path / "dangling"), mode)
    with pytest.raises(ExchangeError, match="the name is longer than the filesystem allows"):
        open_run(config(tmp_path / ("x" * 256)), mode)
    with pytest.raises(ExchangeError, match="something on the way there is a file"):
        open_run(config(tmp_path / "file" / "below"), mode)


def test_cleaning_does_not_follow_links(tmp_path):
    run = open_run(config(tmp_path / "run"), "new")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match="is a link, and what it leads to will not be deleted"):
        open_run(config(tmp_path / "link"), "clean")
    assert open_run(config(tmp_path / "link"), "resume").id == run.id


def test_without_hard_links_a_run_is_made_all_the_same(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(run_dir_module.os, "link", refuse)
    run = open_run(config(tmp_path / "r"), "new")
    assert open_run(config(tmp_path / "r"), "resume").id == run.id


def test_a_name_that_was_claimed_and_never_given_is_said(tmp_path, monkeypatch):
    """Its process died in between: nobody would ever make this run, and the name of the file says nothing of it."""

    def refuse(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(run_dir_module.os, "link", refuse)
    monkeypatch.setattr(run_module, "CLAIMED_S", 0.3)
    (tmp_path / ".claim-run.json").touch()
    with pytest.raises(ConfigError, match=r"\.claim-run\.json says that .* it has died. Remove that file"):
        open_run(config(tmp_path), "new")
    text = '{"id": "a", "config": {"train": {"seed": 77}}}'
    late = threading.Timer(0.1, lambda: (tmp_path / "run.json").write_text(text))
    late.start()
    with pytest.raises(ConfigError, match="was started with"):  # it is there after all, and of another config
        open_run(config(tmp_path), "resume")
    late.join()


def test_a_folder_for_a_run_json_is_said(tmp_path):
    (tmp_path / "run.json").mkdir()
    for use in (lambda: load_run(tmp_path), lambda: open_run(config(tmp_path), "resume")):
        with pytest.raises(ExchangeError, match=r"Cannot read .*run\.json: a folder is in the way"):
            use()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "may not write there"), (errno.ENOSPC, "the disk is full")],
)
def test_what_a_disk_refuses_is_one_sentence(tmp_path, monkeypatch, number, words):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_dir_module.os, "fsync", refuse)
    with pytest.raises(ExchangeError, match=words):
        open_run(config(tmp_path / "r"), "new")


def test_a_run_may_become_longer_and_not_shorter(tmp_path):
    open_run(config(tmp_path, "train.steps=100", "train.burn_in_steps=50"), "new")
    longer = open_run(config(tmp_path, "train.steps=300", "train.burn_in_steps=50"), "resume")
    assert longer.config.train.steps == load_run(tmp_path).config.train.steps == 300
    assert load_run(tmp_path).id == longer.id
    with pytest.raises(ConfigError, match=r"train\.steps = 300, and now it is 200"):
        open_run(config(tmp_path, "train.steps=200", "train.burn_in_steps=50"), "resume")


def test_what_a_launcher_left_unsaid_of_the_method_is_no_difference():
    said = {"method": {"name": "tsal", "keep": 0.3}}
    whole = {"method": {"name": "tsal", "keep": 0.3, "queue": 4}}
    assert differences(said, whole) == differences(whole, said) == []
    assert differences(said, {"method": {"name": "tsal", "keep": 0.7}}) == [("method.keep", 0.3, 0.7)]
    assert differences(said, {"method": {"name": "mean_teacher"}}) == [
        ("method.name", "tsal", "mean_teacher")
    ]
