"""A copy of the code that a job runs with: complete, and in the same world as the repository."""

import pytest

from launch.slurm.container import own_code
from launch.snapshot import copy_code, list_code
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError

BEST = "runs/sweeps/demo/report/best.toml"


@pytest.fixture
def root(tmp_path):
    for name in (
        "launch/a.py",
        "configs/c.toml",
        BEST,
        "runs/mine/run.json",
        "ideas/mine.py",
        "ideas/aid.py",
        "x/f",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def copy(root, *named):
    target = root / "runs/mine/code/digest"
    copy_code(root, list_code(root, named), target)
    return target


def test_somebody_s_own_method_and_detector_are_code(root):
    words = ["method.name=ideas/mine.py:recipe", "model.detector=ideas/aid.py:Net"]
    named = own_code(load_config([], words))
    assert named == ["ideas/mine.py", "ideas/aid.py"]
    code = copy(root, *named)
    (root / "ideas/mine.py").write_text("edited")
    assert (code / "ideas/mine.py").read_text() == "ideas/mine.py"


def test_a_config_beside_the_runs_leaves_the_job_in_the_same_runs(root):
    code = copy(root, BEST)
    assert (code / BEST).read_text() == BEST
    (code / "runs/mine/ctl").mkdir()
    assert (root / "runs/mine/ctl").is_dir(), "what the job writes is the run's"
    assert (code / "x/f").read_text() == "x/f"


def test_what_lies_outside_is_refused_by_its_name(root):
    with pytest.raises(ConfigError, match=r"\.\./mine\.py lies outside"):
        list_code(root, ["../mine.py"])
