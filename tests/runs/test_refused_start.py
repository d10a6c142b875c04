"""A start that is refused leaves nothing that stands in the way of the same command with other settings."""

import json
import shutil

import pytest

from tests.heart import beating
from tests.pack.packing import pack_all
from tests.roles.short_runs import words
from tsal_dist.config import load_config
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.topology import plan_seats
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.run import open_run
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.begin import begin, open_whole
from tsal_dist.train import main

LAUNCHED = Environment(world=1, master_addr="here", master_port=1)


def opened(config, mode, environment=None):
    environment = environment or Environment()
    (seat,) = plan_seats(config.runtime, 1, 1, config.has_teacher)
    return open_run(config, mode, lambda: begin(config, environment, seat, mode))


def test_a_command_that_is_refused_leaves_no_folder(faces, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.validation names .*gone', which is no folder"):
        main(words(faces, tmp_path / "run", f"data.validation={tmp_path / 'gone'}"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["new", "resume", "clean"])
def test_a_launcher_is_told_and_the_corrected_command_starts(faces, tmp_path, mode):
    wrong = load_config([], words(faces, tmp_path / "run", "data.validation=gone"))
    with pytest.raises(ConfigError, match="which is no folder"):
        opened(wrong, mode, LAUNCHED)
    note = json.loads(RunDir(tmp_path / "run").exit_note("student").read_text())
    assert note["code"] == ExitCode.WRONG_CONFIG, "without a note it would be started again and again"
    assert not opened(load_config([], words(faces, tmp_path / "run")), mode).resumed


def test_a_run_is_not_deleted_for_one_that_is_refused(faces, tmp_path):
    first = opened(load_config([], words(faces, tmp_path / "run")), "new")
    with pytest.raises(ConfigError, match="which is no folder"):
        opened(load_config([], words(faces, tmp_path / "run", "data.validation=gone")), "clean", LAUNCHED)
    assert [path.name for path in first.dir.root.iterdir()] == ["run.json"], "its note is its own"


def test_what_is_trained_on_is_looked_for_before_there_is_a_run(faces, tmp_path):
    shutil.copytree(faces.train, tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"data\.validation"):
        opened(load_config([], words(faces, tmp_path / "run", f"data.validation={tmp_path / 'copy'}")), "new")
    assert not (tmp_path / "run").exists()


def test_it_is_looked_for_where_a_launcher_has_made_the_folder(faces, tmp_path):
    """Of the same pictures under other names nothing but the pictures tells."""
    raw = faces.videos.parent
    shutil.copytree(faces.videos, tmp_path / "other" / "clips")
    listed = (raw / "train.lst").read_text().replace("videos/", "clips/")
    (tmp_path / "other" / "some.lst").write_text(listed)
    pack_all(tmp_path, lists=[tmp_path / "other" / "some.lst"], split="renamed")
    renamed = tmp_path / "renamed"
    config = load_config([], words(faces, tmp_path / "run", f"data.validation={renamed}"))
    open_run(config, "new")
    run = open_run(config, "resume")
    (seat,) = plan_seats(config.runtime, 1, 1, config.has_teacher)
    with pytest.raises(ConfigError, match=r"held-out frames .* are also in data\.labelled"):
        open_whole(run, seat, 0)
    assert open_whole(run, seat, 1).validation, "one process looks for all"


@pytest.fixture
def at_work(faces, tmp_path):
    """The words of a run, which others have started in a process for each role."""
    argv = words(faces, tmp_path / "run")
    run = opened(load_config([], argv), "new")
    with beating(run.dir.root, "student"):
        yield argv


def test_a_run_that_goes_on_is_not_gone_on_with_by_hand(at_work, tmp_path, monkeypatch):
    monkeypatch.setattr("tsal_dist.runs.process.train", lambda *_: ExitCode.DONE)
    with pytest.raises(
        ConfigError, match=r"^--resume: student-0 is at work in .*take it over: .* --resume-or-start"
    ):
        main(["--resume", str(tmp_path / "run"), *at_work])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(ConfigError, match="student-0 is at work"):
        main(["--resume", str(tmp_path / "run"), *at_work])
    assert main(["--resume-or-start", *at_work]) == ExitCode.DONE, "launchers take over"
