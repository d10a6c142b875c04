"""What a Slurm job's container sees: every path that the run is told of, and whatever links lead to."""

import subprocess
import sys

import pytest

from launch.slurm.container import local_shards, seen_places
from tests.launch.conftest import ROOT
from tests.launch.job_texts import SLURM
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError


@pytest.fixture
def repository(tmp_path):
    """Runs and one set of shards are elsewhere, the latter by two links."""
    repository, scratch = tmp_path / "code", tmp_path / "scratch"
    (repository / "shards").mkdir(parents=True)
    (scratch / "runs").mkdir(parents=True)
    (scratch / "faces").mkdir()
    (scratch / "newest").symlink_to("faces")
    (repository / "runs").symlink_to(scratch / "runs")
    (repository / "shards" / "x").symlink_to("../../scratch/newest")
    (repository / "shards" / "y").mkdir()
    return repository


def test_links_are_followed_and_named_paths_are_there(repository, tmp_path):
    config = load_config(
        [],
        [
            *(
                "run.name=mine",
                "data.labelled=shards/x",
                "data.unlabelled=shards/y",
                "data.validation=/far/v",
            ),
            *("model.weights=/far/w.pt", "runtime.fork=runs/before", "runtime.offline=['/far/run']"),
            *(f"data.cache_dir={tmp_path}/scratch/not/yet", "runtime.student.deepspeed_file=/far/ds.json"),
        ],
    )
    scratch = tmp_path / "scratch"
    assert seen_places(config, repository, ["a.toml", "/far/b.toml"]) == [
        *("/far/b.toml", "/far/ds.json", "/far/run", "/far/v", "/far/w.pt", str(repository), str(scratch)),
    ]
    config = load_config([], ["run.name=mine", "data.labelled=shards/x", "runtime.fork=runs/before"])
    assert seen_places(config, repository, [], "$TMPDIR") == [
        *(str(repository), f"{scratch}/faces", f"{scratch}/newest", f"{scratch}/runs/before"),
        *(f"{scratch}/runs/mine", "$TMPDIR"),
    ]


def test_shards_are_the_same_by_whatever_way_they_are_named():
    """A job that stages `./shards/x` would copy it onto itself, through the link to its folder."""
    words = ["data.labelled=./shards/x", "data.unlabelled=file://shards/x", "data.validation=shards/v/"]
    assert local_shards(load_config([], words)) == ["shards/x", "shards/v"]


def test_a_link_that_leads_to_itself_ends(repository):
    (repository / "loop").symlink_to("loop")
    assert seen_places(load_config([], ["data.labelled=loop"]), repository, [])[0] == str(repository)


def test_a_place_that_no_mount_can_name_is_refused(repository):
    config = load_config([], ["data.labelled=/far/a,b"])
    with pytest.raises(ConfigError, match="'/far/a,b' is to be seen in the container"):
        seen_places(config, repository, [])


@pytest.mark.parametrize(("image", "word"), [("x.sif", "--bind=/far/w.pt"), ("x", "/far/w.pt:/far/w.pt")])
def test_a_job_s_text_mounts_them(image, word):
    words = [*SLURM, "--gpus-per-node=2", f"--container={image}", "model.weights=/far/w.pt", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "launch.submit", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert word in done.stdout
