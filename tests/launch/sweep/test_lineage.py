"""A clone is the run as of a step, under other settings."""

import json
import os
import threading

import pytest

from launch.sweep.lineage import TrialFolder, clone_run
from tests.launch.conftest import ROOT
from tsal_dist.config import load_config
from tsal_dist.errors import CheckpointError
from tsal_dist.observe.services import Subject
from tsal_dist.run import open_run
from tsal_dist.run_dir import RunDir, whole_steps

FILES = [ROOT / "configs/demo.toml"]


def checkpoint(run, role, step, files=("role.json", "role.safetensors")):
    place = run / "checkpoints" / role / f"step_{step}"
    place.mkdir(parents=True)
    for name in files:
        (place / name).write_text(f"{role} {step}")
    (place / "COMMIT").write_text(json.dumps({"files": dict.fromkeys(files, "digest")}))
    return place


@pytest.fixture
def source(tmp_path):
    """A run in its middle, with a bit of everything."""
    run = tmp_path / "a" / "run_0"
    open_run(load_config(FILES, [f"run.dir={run}"]), "new")
    for step in (10, 20, 30):
        checkpoint(run, "student", step)
        checkpoint(run, "teacher", step)
    for name in ("ctl/hello", "ctl/beat", "ctl/exit", "queue/labels/p", "metrics", "logs/attempt_0"):
        (run / name).mkdir(parents=True)
        (run / name / "x.json").write_text("{}")
    (run / "queue/labels/p/0.parquet").write_bytes(b"labels")
    (run / "queue/labels/p/.1.parquet.tmp").write_bytes(b"half")
    for name in ("wandb-student.json", "mlflow-teacher.json", "mlflow.json"):
        (run / "metrics" / name).write_text('{"told_bytes": 1000, "id": "of the source"}')
    lines = [json.dumps({"step": step, "validation/nme": 1 / step}) for step in (10, 20, 30)]
    (run / "metrics/student.jsonl").write_text("\n".join([*lines, '{"step": 3']))
    return run


def clone(source, step, folder):
    target = folder / "run_1"
    config = load_config(FILES, [f"run.dir={target}", "train.optim.lr=0.5"])
    return clone_run(source, step, target, config), target, config


def test_a_clone_goes_on_from_the_step_and_is_taken_up_under_its_own_settings(source, tmp_path):
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    step, target, config = clone(source, 20, tmp_path / "b")
    assert step == 20
    assert whole_steps(RunDir(target).checkpoints("student")) == [10, 20]
    assert (target / "checkpoints/teacher/step_30/COMMIT").exists()  # a teacher takes what fits its student
    assert [
        json.loads(text)["step"] for text in (target / "metrics/student.jsonl").read_text().splitlines()
    ] == [10, 20]
    # The claims that keep incarnations apart come along; signs of life and notes do not.
    assert (target / "ctl/hello/x.json").exists()
    assert not any(
        (target / name).exists() for name in ("ctl/beat", "ctl/exit", "logs", "queue/labels/p/.1.parquet.tmp")
    )
    assert not [
        path.name for path in (target / "metrics").iterdir() if path.name.startswith(("wandb", "mlflow"))
    ]
    assert len({Subject(RunDir(run), "student", "").read()[0] for run in (source, target)}) == 2, (
        "two runs to tell of"
    )
    run = open_run(config, "resume")
    assert run.resumed
    assert run.id == json.loads((source / "run.json").read_text())["id"]
    # What never changes is not copied; what may is not shared.
    shared = [path for path in target.rglob("*") if path.is_file() and os.stat(path).st_nlink > 1]
    assert {path.suffix for path in shared} == {".safetensors", ".parquet"}
    (target / "metrics/student.jsonl").write_text("")
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_a_checkpoint_that_is_gone_is_made_good_by_the_next_and_a_torn_one_by_none(source, tmp_path):
    (source / "checkpoints/student/step_20/role.safetensors").unlink()
    assert clone(source, 20, tmp_path / "b")[0] == 30
    (source / "checkpoints/student/step_30/role.json").unlink()
    with pytest.raises(CheckpointError, match="no whole checkpoint of step 20 or later"):
        clone(source, 20, tmp_path / "c")
    assert not (tmp_path / "c" / "run_1").exists()


def test_a_run_that_goes_on_can_be_cloned(source, tmp_path):
    """The source writes and removes while it is copied, as training does."""
    done = threading.Event()

    def train():
        step = 40
        while not done.is_set():
            place = checkpoint(source, "student", step)
            for path in sorted(place.iterdir(), key=lambda path: path.name != "COMMIT"):
                path.unlink()
            place.rmdir()
            step += 10

    thread = threading.Thread(target=train)
    thread.start()
    try:
        steps = [clone(source, 30, tmp_path / f"clone_{number}")[0] for number in range(20)]
    finally:
        done.set()
        thread.join(30)
    assert steps == [30] * 20


def test_a_trial_folder_knows_its_last_run_and_why_it_was_refused(tmp_path):
    folder = TrialFolder(tmp_path)
    assert folder.run.name == folder.next_run.name == "run_0"
    for number in (0, 2, 10):
        (tmp_path / f"run_{number}").mkdir()
    (tmp_path / ".run_11.tmp").mkdir()
    assert (folder.run.name, folder.next_run.name) == ("run_10", "run_11")
    assert folder.refusal == ""
    folder.refuse("no")
    assert folder.refusal == "no"


def test_what_was_refused_gets_another_chance_with_the_sweep(tmp_path):
    folder = TrialFolder(tmp_path)
    folder.forgive()
    folder.refuse("no")
    folder.forgive()
    assert folder.refusal == ""
