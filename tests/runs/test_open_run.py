"""A run directory is made once, refused to strangers, and taken up again only by the same config."""

import json
import multiprocessing

import pytest

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError, StaleRun
from tsal_dist.run import load_run, open_run


def config(folder, *overrides):
    return load_config([], [f"run.dir={folder}", *overrides])


def test_a_new_run_writes_down_what_it_is(tmp_path):
    run = open_run(config(tmp_path / "r", "train.steps=3000"), "new")
    assert not run.resumed
    again = load_run(tmp_path / "r")
    assert (again.id, again.config.train.steps) == (run.id, 3000)


def test_an_existing_run_needs_a_decision(tmp_path):
    open_run(config(tmp_path), "new")
    with pytest.raises(ConfigError, match=r"--resume.*--clean.*run\.dir"):
        open_run(config(tmp_path), "new")


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


def test_another_config_is_refused_by_key_and_values(tmp_path):
    open_run(config(tmp_path), "new")
    with pytest.raises(ConfigError, match=r"train\.optim\.lr = 0\.001, and now it is 0\.5"):
        open_run(config(tmp_path, "train.optim.lr=0.5"), "resume")


@pytest.mark.parametrize(
    "override",
    ["runtime.topology=inline", "data.workers=0", "runtime.log.every=7", "runtime.deadlines.silent_s=9"],
)
def test_how_a_run_is_spread_and_watched_may_change(tmp_path, override):
    open_run(config(tmp_path), "new")
    assert open_run(config(tmp_path, override), "resume").resumed


@pytest.mark.parametrize("mode", ["new", "resume", "clean"])
def test_a_folder_of_something_else_is_not_touched(tmp_path, mode):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"run\.dir"):
        open_run(config(tmp_path), mode)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_damaged_run_json_is_named(tmp_path):
    open_run(config(tmp_path), "new")
    (tmp_path / "run.json").write_text('{"id": ')
    with pytest.raises(StaleRun, match=r"run\.json is damaged"):
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


def test_a_run_may_become_longer_and_not_shorter(tmp_path):
    open_run(config(tmp_path, "train.steps=100", "train.burn_in_steps=50"), "new")
    longer = open_run(config(tmp_path, "train.steps=300", "train.burn_in_steps=50"), "resume")
    assert longer.config.train.steps == load_run(tmp_path).config.train.steps == 300
    assert load_run(tmp_path).id == longer.id
    with pytest.raises(ConfigError, match=r"train\.steps = 300, and now it is 200"):
        open_run(config(tmp_path, "train.steps=200", "train.burn_in_steps=50"), "resume")
