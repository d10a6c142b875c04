"""A start that is refused leaves nothing that stands in the way of the same command with other settings."""

import json
import shutil

import pytest

from tests.roles.short_runs import words
from tsal_dist.config import load_config
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.topology import plan_seats
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.run import open_run
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.begin import begin
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
