"""What is refused before anything starts, by the name of what has to be changed."""

import subprocess
import sys

import pytest

from launch.sweep.__main__ import main, open_folder
from launch.sweep.place import fit_plan
from launch.sweep.spec import SweepFile, read_sweep
from launch.sweep.trial_plan import plan_sweep
from tests.launch.conftest import ROOT
from tsal_dist.config.load import all_keys
from tsal_dist.errors import ConfigError, TsalError

LR = "train.optim.lr = { uniform = [1e-3, 1e-2] }"


def plan(tmp_path, space=LR, text="", *words, trials=None):
    changes = {"sweep.trials": trials} if trials else {}
    file = tmp_path / "tiny.toml"
    file.write_text(f"{text}\n[space]\n{space}\n")
    return plan_sweep([str(ROOT / "configs/demo.toml")], words, file, changes, tmp_path)


def test_a_sweep_goes_on_by_the_method_that_it_began_with(tmp_path):
    for mode in ("new", "resume"):
        open_folder(plan(tmp_path), mode)
    with pytest.raises(ConfigError, match="was started with another method: .*'tsal'.*, now .*'companions'"):
        open_folder(plan(tmp_path, LR, "", "method.name=companions"), "resume")


@pytest.mark.parametrize(
    ("space", "text", "says"),
    [
        ("", "", "no \\[space\\]"),
        (
            "train.optim.lrr = { choice = [1] }",
            "",
            "no setting 'train.optim.lrr'. Did you mean 'train.optim.lr'",
        ),
        ("train.optim = { choice = [1] }", "", "train.optim is a section|train.optim = "),
        ("train.optim.lr = { uniform = [0, 1] }", "", "train.optim.lr=0: train.optim.lr = 0 is not valid"),
        ("train.steps = { uniform = [200, 300] }", "", "train.steps=.* is not valid"),
        (
            "train.unlabelled_batch = { randint = [16, 20] }",
            "",
            "train.unlabelled_batch=1[789]: .*not a multiple",
        ),
        ('run.name = { choice = ["a", "b"] }', "", "run.name belongs to the sweep"),
        ('runtime.teachers = { choice = ["1", "2"] }', "", "runtime.teachers"),
        (LR, "[settings]\ntrain.optim.lr = 1e-3", "train.optim.lr is searched, and set"),
        ("train.optim.lr = { grid = [1e-3] }", "", "train.optim.lr is a grid"),
        (LR, '[search]\nmethod = "grid"', "train.optim.lr is uniform, and search.method is 'grid'"),
        (
            "train.seed = { grid = [0, 1] }",
            '[sweep]\ntrials = 1\n[search]\nmethod = "grid"',
            "the grid has 2 points",
        ),
        (
            "train.seed = { choice = [0, 1] }",
            '[schedule]\nkind = "pbt"',
            "train.seed cannot be changed in the middle",
        ),
        (LR, '[schedule]\nkind = "pbt"\nevery_steps = 10', r"runtime.checkpoint.every \(250\)"),
        (LR, '[schedule]\nkind = "pbt"\n[search]\nmethod = "optuna"', "search.method is 'optuna'"),
        (LR, '[schedule]\nkind = "asha"\ngrace_steps = 500', "schedule.grace_steps"),
        (
            LR,
            "[settings]\nruntime.log.evaluate_every = 501\n[stop]\npatience = 2",
            r"runtime.log.evaluate_every \(501\)",
        ),
        (LR, "[settings]\ndata.validation = []", "data.validation names no shards"),
        (LR, "[settings]\ntrain.stepss = 3", "no setting 'train.stepss'. Did you mean 'train.steps'"),
        (LR, '[sweep]\nshared_labels = "runs/none"', "shared_labels: runs/none holds no run.json"),
        (LR, '[sweep]\ndir = "s3://bucket/sweep"', "sweep.dir is 's3://bucket/sweep'"),
        (LR, "[schedule]\nkindd = 1", "no setting 'schedule.kindd'. Did you mean 'schedule.kind'"),
        (
            LR,
            '[place]\nstrategy = "PACKED"',
            "place.strategy = 'PACKED' is not valid: .* Meaning: Bundles close",
        ),
        (LR, "[shedule]\nkind = 1", "no setting 'shedule'. Did you mean 'schedule'"),
        (LR, "[nothing]\nlike = 1", "no setting 'nothing'. The settings are listed in docs/sweeps.md"),
        (LR, "[settings]\ntrain.optim.lr = nan", "train.optim.lr = nan is nothing that a setting can be"),
        (
            "train.seed = { choice = [1, 2020-01-01] }",
            "",
            "space: train.seed = .*2020.* is nothing that a setting",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(tmp_path, space, text, says):
    with pytest.raises(TsalError, match=says):
        plan(tmp_path, space, text)


def test_what_wins_over_what(tmp_path):
    text = "[settings]\ntrain.steps = 60\ntrain.seed = 4\ntrain.burn_in_steps = 10\nruntime.log.evaluate_every = 20"
    found = plan(tmp_path, LR, text, "train.seed=5", trials=3)
    config = found.trial_config({"train.optim.lr": 5e-3}, tmp_path / "run")
    assert (config.train.steps, config.train.seed, config.train.optim.lr) == (60, 5, 5e-3)
    assert config.model.crop_px == 96
    assert config.run.dir == str(tmp_path / "run")
    assert found.trials == 3
    # A teacher and a student, a core each: what launch.local would start.
    assert fit_plan(found, [{"CPU": 8.0}]).bundles == [{"CPU": 2.0}]


def test_a_place_is_what_was_asked_for(tmp_path):
    text = (
        '[place]\nnodes = 2\nprocs_per_node = 4\ngpus_per_proc = 0.5\ncpus_per_proc = 3\nstrategy = "SPREAD"'
    )
    found = plan(tmp_path, LR, text)
    assert fit_plan(found, []).bundles == [{"CPU": 12, "GPU": 2.0}] * 2
    (crew,) = found.trial_crews(found.config)
    assert (crew.nodes, crew.procs) == (2, 4)


@pytest.mark.parametrize("file", sorted((ROOT / "configs/sweeps").glob("*.toml")), ids=lambda path: path.stem)
def test_every_sweep_that_is_shipped_fits_the_demo(file, tmp_path):
    text = file.read_text().replace('shared_labels = "runs/demo"', "")  # which `make demo` has yet to make
    (tmp_path / file.name).write_text(text)
    found = plan_sweep([str(ROOT / "configs/demo.toml")], [], tmp_path / file.name, {}, tmp_path)
    assert found.trials >= 4


def test_the_page_names_every_key_of_a_sweep_file():
    page = (ROOT / "docs/sweeps.md").read_text()
    assert [key for key in all_keys(SweepFile) if "." in key and f"`{key}`" not in page] == []


def test_an_absent_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no sweep file"):
        read_sweep(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.toml").write_text("")
    with pytest.raises(ConfigError, match=r"no sweep file .*/x\.toml'\. There are: .*/sweep\.toml\."):
        read_sweep(tmp_path / "x.toml")


@pytest.mark.parametrize("text", ["[sweep", "a = " + "[" * 9000, "a = " + "9" * 5000, b"a = '\xff'"], ids=len)
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / "bad.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match="bad.toml is not valid TOML"):
        read_sweep(tmp_path / "bad.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    with pytest.raises(ConfigError, match=r"sweep file '.*loop\.toml' cannot be read: Too many levels"):
        read_sweep(tmp_path / "loop.toml")


def test_a_dry_run_shows_the_plan_and_starts_nothing(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config", "configs/demo.toml", "--sweep", "configs/sweeps/consistency.toml", "--trials", "5"]
    assert main([*words, "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert "5 trials" in page
    assert "method.queue: randint from 1 to 6" in page
    assert (
        "1 x (2 training processes, which read clips themselves; a GPU for each where there are any; 2 CPUs"
        in page
    )
    assert "launch.crew" in page
    assert not (ROOT / "runs/sweeps/consistency").exists()


def test_planning_needs_neither_ray_nor_torch():
    code = "import sys, launch.sweep.__main__; assert not {'ray', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_number_on_the_command_line_is_held_to_the_same_rules(tmp_path):
    """Tune takes -1 for trials without end."""
    with pytest.raises(ConfigError, match="sweep: trials = -1 is not valid"):
        plan(tmp_path, trials=-1)


def test_a_sweep_that_is_at_work_or_was_labelled_by_hand_is_not_deleted(tmp_path, monkeypatch):
    found = plan(tmp_path)
    open_folder(found, "new")
    run = found.folder / "trials" / "a" / "run_0"
    (run / "label").mkdir(parents=True)
    monkeypatch.setattr("launch.sweep.__main__.living", lambda run, beat_s: "student-0")
    with pytest.raises(ConfigError, match="--clean: student-0 is at work in .*/trials/a/run_0"):
        open_folder(found, "clean")
    monkeypatch.setattr("launch.sweep.__main__.living", lambda run, beat_s: "")
    (run / "label" / "labels.csv").write_text("an afternoon")
    with pytest.raises(ConfigError, match=r"made by hand.* such as to .*/sweeps/labels\.csv"):
        open_folder(found, "clean")
    (run / "label" / "labels.csv").unlink()
    open_folder(found, "clean")
    assert not run.exists()
